"""What is known of one micrograph, one fact a subject: its class, its header, its levels, and its limits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from micrographia.micrographs.lengths import printed_length, printed_quantity
from micrographia.records import CANNOT_TELL, CLASS, Instrument, Measurement, Quantity, Record, Scale
from micrographia.teach.levels import LEVELS, direction_at

DIRECTION = "direction"

HEADER_SUBJECTS = ("image size", "bit depth", "pixel size", "field width", "technique", "voltage")
"""What the file's header or the lab's table tells, never the pixels."""

SIZES = ("particle diameter", "particle count", "particle area fraction", "fibre diameter", "pitch")
"""What is measured on the image's own pixels and told in numbers, under the measurement's name. A student
sees a reduced image without its scale, so it can word these and never find them."""

WIDTHS = ("image size", "field width")
"""What a quarter turn makes untrue of an image that is no square."""

HEADER, MEASURED = "Header:", "Measured:"
"""What the header and the measured sizes begin with, where they come with a question."""

ALWAYS_LIMITS = (
    "composition",
    "application",
    "environment",
    "height",
    "change",
    "origin",
    "editing",
    "contact",
    "function",
    "cause",
    "properties",
)
"""What a single grey image does not show, whatever it is of: see docs/teach.md for each."""


class Fact(Record):
    """What can be said of a micrograph about one subject, and what it rests on."""

    subject: str
    value: str
    quantity: Quantity | None = None
    kind: Literal["label", "measured", "metadata", "limit"]
    evidence: str
    directional: bool = False
    because: str | None = None
    """Why it cannot be told of this image; None where the reason is the same for every image."""


Facts = Mapping[str, Fact]


class Taken(Protocol):
    """What facts need of a micrograph, in a workspace or not, beside its measurements."""

    @property
    def label(self) -> str | None:
        """Its class."""

    @property
    def width(self) -> int:
        """Columns of the whole image."""

    @property
    def height(self) -> int:
        """Its rows."""

    @property
    def bits(self) -> int:
        """Of each value, as stored."""

    @property
    def scale(self) -> Scale:
        """The readings of its pixel size."""

    @property
    def instrument(self) -> Instrument:
        """Settings it was taken with."""


def facts_of(micrograph: Taken, measurements: Sequence[Measurement]) -> dict[str, Fact]:
    """Every fact of the micrograph by subject. A subject of which nothing is known is not there.

    Sizes are measured in pixels; with a scale they become lengths here.
    """
    label = [] if micrograph.label is None else [_label(micrograph.label)]
    limits = [_limit(subject, "a single grey image") for subject in ALWAYS_LIMITS]
    sizes = [_size(m, micrograph.scale.pixel_size_nm) for m in measurements if m.name in SIZES]
    facts = [*label, *_header(micrograph), *_measured(measurements), *sizes, *limits]
    return {fact.subject: fact for fact in facts}


def header_line(facts: Facts) -> str:
    """The header as words for a question about it, since no student can see it in the pixels."""
    return f"{HEADER} {_listed(HEADER_SUBJECTS, facts)}."


def measured_line(facts: Facts) -> str:
    """The measured sizes as words for a question about them, for the same reason."""
    return f"{MEASURED} {_listed(SIZES, facts)}."


def _listed(subjects: Sequence[str], facts: Facts) -> str:
    told = (facts[subject] for subject in subjects if subject in facts)
    return "; ".join(f"{f.subject} {'unknown' if f.value == CANNOT_TELL else f.value}" for f in told)


def _label(label: str) -> Fact:
    return Fact(subject=CLASS, value=label, kind="label", evidence="label")


def _limit(subject: str, evidence: str) -> Fact:
    return Fact(subject=subject, value=CANNOT_TELL, kind="limit", evidence=evidence)


def _header(micrograph: Taken) -> list[Fact]:
    size = f"{micrograph.width} × {micrograph.height} px"
    voltage = micrograph.instrument.accelerating_voltage
    technique = re.sub(r"[\s.,;:]+", " ", micrograph.instrument.technique or "").strip()
    return [
        _told("image size", size, None, "width, height", _is_oblong(micrograph)),
        _told("bit depth", f"{micrograph.bits} bit", Quantity(value=micrograph.bits, unit="bit"), "bits"),
        *_scale(micrograph),
        _told("technique", technique, None, "instrument.technique")
        if technique
        else _limit("technique", "instrument.technique is not known"),
        *([] if voltage is None else [_voltage(voltage)]),
    ]


def _scale(micrograph: Taken) -> list[Fact]:
    pixel = micrograph.scale.pixel_size_nm
    if pixel is None:
        evidence = f"scale verdict: {micrograph.scale.verdict}"
        limits = [_limit("pixel size", evidence), _limit("absolute size", evidence)]
        return [limit.model_copy(update={"because": _why_no_scale(micrograph.scale)}) for limit in limits]
    source = f"scale from {micrograph.scale.readings[0].source}"
    width = pixel * micrograph.width
    return [
        _told("pixel size", printed_length(pixel), Quantity(value=pixel, unit="nm"), source),
        _told(
            "field width",
            printed_length(width),
            Quantity(value=width, unit="nm"),
            source,
            _is_oblong(micrograph),
        ),
    ]


def _why_no_scale(scale: Scale) -> str | None:
    """What is particular to this image; None where it simply has no scale."""
    if scale.verdict == "conflict":
        return "the readings of its scale contradict each other"
    return None if scale.verdict == "none" else "its pixels are not square"


def _voltage(voltage: Quantity) -> Fact:
    return _told("voltage", f"{voltage.value:g} {voltage.unit}", voltage, "instrument.accelerating_voltage")


def _is_oblong(micrograph: Taken) -> bool:
    return micrograph.width != micrograph.height


def _told(
    subject: str, value: str, quantity: Quantity | None, evidence: str, directional: bool = False
) -> Fact:
    return Fact(
        subject=subject,
        value=value,
        quantity=quantity,
        kind="metadata",
        evidence=evidence,
        directional=directional,
    )


def _measured(measurements: Sequence[Measurement]) -> list[Fact]:
    taken = {m.name: m for m in measurements}
    graded = [
        _graded(subject, taken[levels.measurement])
        for subject, levels in LEVELS.items()
        if levels.measurement in taken
    ]
    return [*graded, *_direction(taken.get(DIRECTION))]


def _graded(subject: str, measurement: Measurement) -> Fact:
    if measurement.quantity is None:
        return _limit(subject, f"{measurement.name}: {measurement.refused}")
    level = LEVELS[subject].level(measurement.quantity.value)
    return Fact(
        subject=subject,
        value=level,
        quantity=measurement.quantity,
        kind="measured",
        evidence=measurement.name,
    )


def _size(measurement: Measurement, pixel_nm: float | None) -> Fact:
    """In nanometres where the scale is known, else in pixels; with n and interval."""
    if measurement.quantity is None:
        limit = _limit(measurement.name, f"{measurement.name}: {measurement.refused}")
        return limit.model_copy(update={"because": measurement.refused})
    quantity = measurement.quantity.scaled(pixel_nm)
    value, interval = printed_quantity(quantity)
    details = [] if quantity.n is None else [f"n = {quantity.n}"]
    details += [f"95 % interval {interval}"] if interval else []
    value += f" ({', '.join(details)})" if details else ""
    return Fact(
        subject=measurement.name,
        value=value,
        quantity=quantity,
        kind="measured",
        evidence=measurement.method,
    )


def _direction(measurement: Measurement | None) -> list[Fact]:
    """No fact where there is no direction: the alignment says so."""
    if measurement is None or measurement.quantity is None:
        return []
    value = direction_at(measurement.quantity.value)
    quantity, evidence = measurement.quantity, measurement.name
    return [
        Fact(
            subject=DIRECTION,
            value=value,
            quantity=quantity,
            kind="measured",
            evidence=evidence,
            directional=True,
        )
    ]
