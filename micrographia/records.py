"""What crosses rooms. Every record is frozen, checked when made, and round-trips through JSON.

file -> Source, Micrograph -> Measurement -> Conversation (Turn, Claim) -> Answer -> Score
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

CANNOT_TELL = "cannot be told"
"""The value of a claim whose truth is that the image does not show it."""


class Record(BaseModel):
    """Frozen, no unknown fields, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Quantity(Record):
    """A number with its unit, and where known its 95 % interval and how many things it was taken over.

    ``unit`` is "" for a dimensionless number, otherwise as printed: px, nm, µm, °, %, kV, mm, 1/px.
    """

    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = Field(default=None, ge=0)

    def scaled(self, pixel_nm: float | None) -> Quantity:
        """A length in pixels as nanometres where ``pixel_nm`` is known; anything else as it is."""
        if pixel_nm is None or self.unit != "px":
            return self
        value, low, high = (
            None if end is None else pixel_nm * end for end in (self.value, self.low, self.high)
        )
        return self.model_copy(update={"value": value, "low": low, "high": high, "unit": "nm"})


LEAST_SPREAD = 0.01
"""Readings of the pixel size that differ by no more than this part of each other agree."""


class ScaleReading(Record):
    """One reading of the pixel size and where it comes from."""

    source: Literal["vendor tag", "sidecar", "scale bar", "field width", "table"]
    pixel_size_nm: float = Field(gt=0)
    """Width of a pixel: from one column to the next."""
    pixel_height_nm: float | None = Field(default=None, gt=0)
    """From one row to the next; None where pixels are square."""
    relative_uncertainty: float = Field(default=0.0, ge=0)
    detail: str = ""
    """The tag, column or label as it was read."""

    @property
    def height_nm(self) -> float:
        """Height of a pixel, in nanometres."""
        return self.pixel_size_nm if self.pixel_height_nm is None else self.pixel_height_nm

    def agrees_with(self, other: ScaleReading) -> bool:
        """Whether both sides of the pixel differ by no more than twice the uncertainty of both, or 1 %."""
        allowed = max(LEAST_SPREAD, 2 * math.hypot(self.relative_uncertainty, other.relative_uncertainty))
        sides = (self.pixel_size_nm, other.pixel_size_nm), (self.height_nm, other.height_nm)
        return all(max(side) / min(side) - 1 <= allowed for side in sides)

    def resized(self, factor: float) -> ScaleReading:
        """The reading for ``factor`` times as many pixels along each side."""
        height = None if self.pixel_height_nm is None else self.pixel_height_nm / factor
        return self.model_copy(
            update={"pixel_size_nm": self.pixel_size_nm / factor, "pixel_height_nm": height}
        )


class Scale(Record):
    """Every reading of the pixel size of one image, the most certain first, and what they say together."""

    readings: tuple[ScaleReading, ...] = ()
    verdict: Literal["agreed", "single", "conflict", "none"] = "none"
    """agreed: readings of different sources say the same. single: there is one source only."""

    @model_validator(mode="after")
    def _verdict_fits_readings(self) -> Scale:
        n_sources = len({reading.source for reading in self.readings})
        allowed = {0: {"none"}, 1: {"single", "conflict"}}.get(n_sources, {"agreed", "conflict"})
        if self.verdict not in allowed or (self.verdict == "conflict" and len(self.readings) < 2):
            raise ValueError(f"verdict {self.verdict!r} with {len(self.readings)} readings")
        return self

    @classmethod
    def of(cls, readings: tuple[ScaleReading, ...]) -> Scale:
        """All readings together: they agree where each two of them do."""
        if not readings:
            return cls()
        ranked = tuple(sorted(readings, key=lambda reading: reading.relative_uncertainty))
        if not all(one.agrees_with(other) for one, other in itertools.combinations(ranked, 2)):
            return cls(readings=ranked, verdict="conflict")
        return cls(readings=ranked, verdict="agreed" if len({r.source for r in ranked}) > 1 else "single")

    @property
    def best(self) -> ScaleReading | None:
        """The most certain reading; None where there is none or they conflict."""
        return self.readings[0] if self.verdict in ("agreed", "single") else None

    @property
    def pixel_size_nm(self) -> float | None:
        """Nanometres per pixel; None where there is no reading, they conflict, or pixels are not square."""
        return self.best.pixel_size_nm if self.best and self.best.pixel_height_nm is None else None

    def resized(self, factor: float) -> Scale:
        """The scale of the same image with ``factor`` times as many pixels along each side."""
        return self.model_copy(update={"readings": tuple(r.resized(factor) for r in self.readings)})


class Stage(Record):
    """Where the specimen stood: x, y and z in mm, rotation and tilt in degrees, as far as it is known."""

    x: Quantity | None = None
    y: Quantity | None = None
    z: Quantity | None = None
    rotation: Quantity | None = None
    tilt: Quantity | None = None


class Instrument(Record):
    """What is known of how the image was taken; None is "not known", never a guess."""

    technique: str | None = None
    """SEM, TEM, STEM, optical ... as the header or the lab's table gives it."""
    maker: str | None = None
    model: str | None = None
    detector: str | None = None
    accelerating_voltage: Quantity | None = None
    working_distance: Quantity | None = None
    magnification: float | None = Field(default=None, gt=0)
    taken: str | None = None
    """Date and time, ISO 8601 where the header's are understood."""
    stage: Stage | None = None

    @classmethod
    def first_known(cls, instruments: Iterable[Instrument]) -> Instrument:
        """Of each property what the first of ``instruments`` that knows it says."""
        known: dict[str, object] = {}
        for instrument in instruments:
            for name in cls.model_fields:
                if (value := getattr(instrument, name)) is not None:
                    known.setdefault(name, value)
        return cls.model_validate(known)


class Box(Record):
    """A rectangle of pixels: rows ``top`` to ``bottom`` - 1, columns ``left`` to ``right`` - 1."""

    top: int = Field(ge=0)
    left: int = Field(ge=0)
    bottom: int = Field(gt=0)
    right: int = Field(gt=0)

    @model_validator(mode="after")
    def _not_empty(self) -> Box:
        if self.top >= self.bottom or self.left >= self.right:
            raise ValueError(
                f"a box of rows {self.top} to {self.bottom}, columns {self.left} to {self.right}"
            )
        return self


class Acquisition(Record):
    """What an image itself tells of how it was taken: in its header, and in what is printed into it."""

    readings: tuple[ScaleReading, ...] = ()
    instrument: Instrument = Instrument()
    """The header's word comes before the databar's."""
    field: Box | None = None
    """The image without its databar; None where it has none."""
    bar: Box | None = None
    """The scale bar as it was read; None where none was."""
    burnt_in: tuple[Box, ...] = ()
    """Scale bar and label that lie on the field."""
    missing: tuple[str, ...] = ()
    """What header and print do not tell, or tell in a way that cannot be trusted, each with the reason."""


class Display(Record):
    """How stored values became 8-bit grey: ``black`` and below is 0, ``white`` and above is 255."""

    black: float
    white: float
    low_percentile: float | None = None
    high_percentile: float | None = None
    """The percentiles that gave black and white; None where the values were 8-bit already."""


Part = Literal["train", "validation", "test"]


class Told(Record):
    """What people say of one file: by the folder it lies in, or a row of a table."""

    label: str | None = None
    """Its class, as the lab names it."""
    group: str | None = None
    """Specimen, series or paper: what must stay on one side of a split."""
    caption: str | None = None
    """Words of a person about it."""
    part: Part | None = None
    """The part of the split it belongs to, where the lab has settled that."""
    scale: Scale = Scale()
    instrument: Instrument = Instrument()
    missing: tuple[str, ...] = ()
    """What the instrument's text file beside it does not tell, with the reasons."""


class Source(Record):
    """One file that ingest has met, and what became of it."""

    path: str
    size_bytes: int = Field(ge=0)
    modified_ns: int
    outcome: Literal["taken", "refused", "skipped", "gone"]
    """refused: it should be an image and could not be read. skipped: it is not an image. gone: it was met and
    is not there any more."""
    reason: str | None = None
    micrograph: Sha256 | None = None
    told: Told = Told()
    """By folder, group pattern and table."""
    row: Told | None = None
    """What the row of the lab's table alone told, which holds until another table comes."""

    @model_validator(mode="after")
    def _taken_or_a_reason(self) -> Source:
        taken = self.outcome == "taken"
        if taken != (self.micrograph is not None) or taken != (self.reason is None):
            raise ValueError(f"source {self.path!r}: taken needs a micrograph, all else needs a reason")
        return self


class Micrograph(Record):
    """One image. Its id is the sha256 of the original bytes."""

    id: Sha256
    name: str
    """The file's name when it was first met; for people, never a path to open."""
    format: Literal["PNG", "JPEG", "BMP", "TIFF", "DM", "EMD", "SER", "MRC"]
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    channels: int = Field(ge=1, le=4)
    bits: int = Field(ge=1, le=64)
    sample: Literal["unsigned", "signed", "float"] = "unsigned"
    pages: int = Field(default=1, ge=1)
    display: Display
    label: str | None = None
    """Its class, as its sources tell it together; where they differ it is dropped, with a note."""
    group: str | None = None
    caption: str | None = None
    scale: Scale = Scale()
    instrument: Instrument = Instrument()
    field: Box | None = None
    """Where the databar is not; None where there is none. Measurements and students see this part alone."""
    burnt_in: tuple[Box, ...] = ()
    """Scale bar and label on the field, painted over before a student sees it."""
    missing: tuple[str, ...] = ()
    """What neither header nor print tells of how it was taken, with the reasons."""
    fingerprint: str = Field(default="", pattern=r"^[0-9a-f]*$")
    """Perceptual hash of the display image, hexadecimal; near duplicates differ in few bits."""
    notes: tuple[str, ...] = ()
    """What the reader had to leave or assume: other pages, an alpha channel ..."""


class Measurement(Record):
    """A number read from the pixels of one micrograph, or why there is none."""

    name: str
    quantity: Quantity | None
    method: str
    """The definition and its version; two values compare only where this is the same."""
    refused: str | None = None
    """Why no number can be given; None where there is one."""

    @model_validator(mode="after")
    def _a_number_or_a_reason(self) -> Measurement:
        if (self.quantity is None) == (self.refused is None):
            raise ValueError(f"measurement {self.name!r} needs a quantity or a reason, not both")
        return self


CLASS = "class"
"""The subject of claims, and the name of the label set, that name the class."""


class Claim(Record):
    """One fact that a sentence rests on, with where it comes from.

    ``start`` and ``end`` bound the words in the answer that state it. A ``directional`` claim names a
    direction in the image plane and turns when the image is turned.
    """

    kind: Literal["label", "measured", "metadata", "literature", "visual", "prior", "limit"]
    subject: str
    """What it is about: class, contrast, direction, pixel size ..."""
    value: str
    """A class, a level, a direction; ``CANNOT_TELL`` for a limit."""
    quantity: Quantity | None = None
    evidence: str
    """The record it rests on: a measurement's name, a header field, "label"."""
    directional: bool = False
    start: int = Field(ge=0)
    end: int = Field(ge=0)

    @property
    def seen(self) -> bool:
        """Whether pixels show it: a class or a measured fact, no header's, nothing that cannot be told."""
        return self.kind in ("label", "measured") and self.value != CANNOT_TELL


class Turn(Record):
    """One side's words."""

    role: Literal["user", "assistant"]
    text: str = Field(min_length=1)


class Conversation(Record):
    """A question about one or more micrographs and its answer, with the facts behind the answer."""

    id: Sha256
    micrographs: tuple[Sha256, ...] = Field(min_length=1)
    task: Literal["caption", "category", "vqa"]
    question_set: str
    question: str
    """The question's id within its set."""
    aspect: str | None = None
    length: Literal["short", "long"] = "short"
    teacher: str
    turns: tuple[Turn, ...] = Field(min_length=2)
    claims: tuple[Claim, ...] = ()

    @property
    def prompt(self) -> str:
        """What the student is asked."""
        return self.turns[0].text

    @property
    def answer(self) -> str:
        """What it should say."""
        return self.turns[-1].text


class Answer(Record):
    """What a student said."""

    micrograph: Sha256
    student: str
    question: str
    text: str
    ranking: tuple[tuple[str, float], ...] = ()
    """For a category question: classes and probabilities, best first; they sum to 1."""

    @property
    def confidence(self) -> float | None:
        """Probability of the first class; None where the question had no closed set of answers."""
        return self.ranking[0][1] if self.ranking else None


class Score(Record):
    """A figure of merit with its 95 % interval, clustered by group."""

    task: str
    metric: str
    """The name with its implementation: "BLEU-4 (word, sacrebleu 2.6.0)"."""
    system: str
    """The student or the baseline it belongs to."""
    value: float
    low: float
    high: float
    n: int = Field(ge=0)
    groups: int = Field(ge=0)
    unscored: int = Field(default=0, ge=0)
    interval: str = ""
    """How the interval was made: which bootstrap, or what took its place."""
