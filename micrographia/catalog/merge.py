"""One micrograph may lie in several files, and folders and tables may differ on what it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from micrographia.records import Acquisition, Instrument, Micrograph, Scale, Source


def with_sources(as_read: Micrograph, acquisition: Acquisition, sources: Sequence[Source]) -> Micrograph:
    """The micrograph as read from its bytes, with what it tells of its taking and what its sources tell.

    A label on which they differ cannot be trusted: it is dropped, with a note. Every group binds in a split,
    the first is shown. Scale readings add to those of the image; of the instrument, the image's word comes
    first.
    """
    labels = sorted({s.told.label for s in sources if s.told.label})
    notes = list(as_read.notes)
    if len(labels) > 1:
        notes.append(f"label dropped: the same image is given as {' and as '.join(labels)}")
    readings = (
        acquisition.readings
        + as_read.scale.readings
        + tuple(r for s in sources for r in s.told.scale.readings)
    )
    scale = Scale.of(tuple(dict.fromkeys(readings)))
    told = (s.told.instrument for s in sources)
    instrument = Instrument.first_known([acquisition.instrument, as_read.instrument, *told])
    missing = [*acquisition.missing, *(line for s in sources for line in s.told.missing)]
    return as_read.model_copy(
        update={
            "label": labels[0] if len(labels) == 1 else None,
            "group": next((s.told.group for s in sources if s.told.group), None),
            "caption": next((s.told.caption for s in sources if s.told.caption), None),
            "scale": scale,
            "instrument": instrument,
            "field": acquisition.field,
            "burnt_in": acquisition.burnt_in,
            "missing": _still_missing(missing, instrument, scale),
            "notes": tuple(notes),
        }
    )


def _still_missing(lines: Iterable[str], instrument: Instrument, scale: Scale) -> tuple[str, ...]:
    """What is missing in one place and was not found in another. A line begins with what it is about."""
    known = {
        "pixel size": bool(scale.readings),
        "accelerating voltage": instrument.accelerating_voltage is not None,
        "working distance": instrument.working_distance is not None,
        "magnification": instrument.magnification is not None,
        "date": instrument.taken is not None,
    }
    return tuple(dict.fromkeys(line for line in lines if not known.get(line.partition(":")[0], False)))
