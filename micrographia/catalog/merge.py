"""One micrograph may lie in several files, and folders and tables may differ on what it is."""

from __future__ import annotations

from collections.abc import Sequence

from micrographia.records import Instrument, Micrograph, Scale, Source


def with_sources(as_read: Micrograph, sources: Sequence[Source]) -> Micrograph:
    """The micrograph as read from its bytes, with what its sources tell.

    A label on which they differ cannot be trusted: it is dropped, with a note. Every group binds in a split,
    the first is shown. Scale readings add to those of the header; of the instrument, the header's word
    comes first.
    """
    labels = sorted({s.told.label for s in sources if s.told.label})
    notes = list(as_read.notes)
    if len(labels) > 1:
        notes.append(f"label dropped: the same image is given as {' and as '.join(labels)}")
    readings = as_read.scale.readings + tuple(r for s in sources for r in s.told.scale.readings)
    return as_read.model_copy(
        update={
            "label": labels[0] if len(labels) == 1 else None,
            "group": next((s.told.group for s in sources if s.told.group), None),
            "caption": next((s.told.caption for s in sources if s.told.caption), None),
            "scale": Scale.of(tuple(dict.fromkeys(readings))),
            "instrument": _first_known([as_read.instrument, *(s.told.instrument for s in sources)]),
            "notes": tuple(notes),
        }
    )


def _first_known(instruments: Sequence[Instrument]) -> Instrument:
    known = {
        name: next((value for i in instruments if (value := getattr(i, name)) is not None), None)
        for name in Instrument.model_fields
    }
    return Instrument(**known)
