"""Answers that no student gives: the scale, the header and measured sizes, from the image's own record.

A student sees a small copy of the image, without its scale: asked for a length it would make one up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from micrographia.catalog import Catalog
from micrographia.measure import measure_image
from micrographia.measure.field import measure_sizes
from micrographia.micrographs.picture import Picture
from micrographia.records import CANNOT_TELL, Instrument, Measurement
from micrographia.teach.facts import SIZES, Fact, Facts, facts_of
from micrographia.teach.levels import LEVELS
from micrographia.teach.measured import in_plain_words
from micrographia.teach.questions import Question, load, shipped
from micrographia.teach.teacher import Taught

Words = frozenset[str]


def _words(text: str) -> Words:
    return frozenset(text.split())


SIZE = _words("size sizes large larger big bigger small diameter diameters width widths wide thick thickness")
COUNT = _words("many count counts number")
SHARE = _words("coverage cover covers covered fraction share area porosity")
PARTICLES = _words(
    "particle particles nanoparticle nanoparticles sphere spheres crystal crystals bead beads powder"
)
FIBRES = _words(
    "fibre fibres fiber fibers nanofibre nanofibres nanofiber nanofibers wire wires nanowire nanowires "
    "strand strands filament filaments"
)
FEATURES = _words("structure structures feature features object objects things they")

ON_REQUEST = {
    "pores": _words("pore pores hole holes void voids porosity"),
    "cracks": _words("crack cracks scratch scratches"),
    "grains": _words("grain grains"),
}
"""What is measured only where a person says that there is some, by the word for ``measure --what``."""
UNMEASURED = _words("layer layers coating coatings film films shell shells lamella lamellae roughness")
LENGTH = _words("long length lengths")

RULES: tuple[tuple[tuple[Words, ...], tuple[str, ...]], ...] = (
    *(((SIZE | COUNT | SHARE | LENGTH, nouns), (f"size of {what}",)) for what, nouns in ON_REQUEST.items()),
    ((SIZE | COUNT, UNMEASURED), ("thickness of a layer",)),
    ((COUNT, FIBRES), ("number of fibres",)),
    ((LENGTH, FIBRES), ("length of fibres",)),
    ((COUNT, PARTICLES), ("particle count", "particle diameter")),
    ((SHARE, PARTICLES), ("particle area fraction",)),
    ((SIZE, FIBRES), ("fibre diameter",)),
    ((SIZE, PARTICLES), ("particle diameter", "particle count")),
    ((_words("pitch period periodicity spacing"),), ("pitch",)),
    ((SIZE, FEATURES), ("particle diameter", "fibre diameter", "pitch")),
    ((_words("magnification magnified"),), ("magnification", "pixel size")),
    ((_words("pixel scale scalebar"),), ("pixel size", "field width")),
    ((_words("field"), _words("view width wide large")), ("field width", "pixel size")),
)
"""A question that has a word of each set is about these subjects; the first rule that fits counts."""

SETTINGS: tuple[tuple[Words, str], ...] = (
    (_words("voltage kv energy"), "voltage"),
    (_words("working distance wd"), "working distance"),
    (_words("detector detectors"), "detector"),
    (_words("microscope instrument maker"), "instrument"),
    (_words("date when"), "date"),
)
"""Settings, of which a question may name several."""

REASONS = {
    **{f"size of {what}": f"`micrographia measure --what {what}` tells it" for what in ON_REQUEST},
    "thickness of a layer": "no layer is outlined in an image",
    "number of fibres": "fibres that cross, or leave the field, cannot be counted",
    "length of fibres": "most of them leave the field or pass below others",
}
"""Why the subject is not measured when it is asked about."""


def subjects_asked(question: str) -> tuple[str, ...]:
    """The subjects of the record that ``question`` is about; none where it is for the student."""
    asked = _plain(question)
    known = next((one for one in _every_question() if asked in map(_plain, one.ask)), None)
    if known and not _rests_on_the_record(known):
        return ()
    words = frozenset(asked.split())
    by_rule = next((subjects for sets, subjects in RULES if all(words & one for one in sets)), ())
    settings = tuple(subject for names, subject in SETTINGS if words & names)
    return (*by_rule, *settings) or (known.long if known else ())


def as_catalogued(picture: Picture, catalog: Catalog) -> Picture:
    """The picture with the scale and settings that a workspace has for the same bytes, where it has any.

    A table may have told another scale there, or one that the file does not have.
    """
    known = catalog.micrograph(picture.identity)
    return replace(picture, scale=known.scale, instrument=known.instrument) if known else picture


def answer_from_record(picture: Picture, question: str) -> Taught | None:
    """The answer to a question about scale, header or sizes; None for any other question.

    What cannot be told is said with its reason.
    """
    subjects = subjects_asked(question)
    if not subjects:
        return None
    known = facts_of(picture, _measured(picture, subjects)) | _settings(picture.instrument)
    return in_plain_words(list(_stated(subjects, known)))


def _measured(picture: Picture, subjects: tuple[str, ...]) -> tuple[Measurement, ...]:
    """Only what is asked about: networks and filters take seconds."""
    sizes = measure_sizes(picture.field, picture.burnt_in) if set(subjects) & set(SIZES) else ()
    return sizes + (measure_image(picture.field) if set(subjects) & set(LEVELS) else ())


def _settings(instrument: Instrument) -> dict[str, Fact]:
    """What is known of how it was taken, beside what every header line tells."""
    distance = instrument.working_distance
    told = {
        "working distance": distance and f"{distance.value:g} {distance.unit}",
        "magnification": instrument.magnification and f"{instrument.magnification:g} times",
        "detector": instrument.detector,
        "instrument": " ".join(filter(None, (instrument.maker, instrument.model))),
        "date": instrument.taken,
    }
    return {
        subject: Fact(subject=subject, value=value, kind="metadata", evidence=f"instrument: {subject}")
        for subject, value in told.items()
        if value
    }


def _stated(subjects: tuple[str, ...], known: Facts) -> Iterator[Fact]:
    """What is known of them, then what is not, each reason once; a size in pixels is said to be no length."""
    wanted = dict.fromkeys((*subjects, *(["absolute size"] if set(subjects) & set(SIZES) else [])))
    facts = [known.get(subject) or _unknown(subject) for subject in wanted]
    if not any(fact.quantity and fact.quantity.unit == "px" for fact in facts):
        facts = [fact for fact in facts if fact.subject != "absolute size"]
    reasons: set[str] = set()
    for fact in sorted(facts, key=lambda fact: fact.kind == "limit"):
        if fact.because not in reasons:
            yield fact
        reasons |= {fact.because} if fact.because else set()


def _unknown(subject: str) -> Fact:
    return Fact(
        subject=subject,
        value=CANNOT_TELL,
        kind="limit",
        evidence=f"{subject} is not recorded",
        because=REASONS.get(subject, "nothing that comes with it names it"),
    )


def questions_of_the_record() -> tuple[tuple[str, ...], ...]:
    """The phrasings of every question that is answered so."""
    return tuple(question.ask for question in _every_question() if _rests_on_the_record(question))


def _rests_on_the_record(question: Question) -> bool:
    return question.about_the_header or question.about_sizes


def _every_question() -> Iterator[Question]:
    for name in shipped():
        yield from load(name).questions


def _plain(question: str) -> str:
    return " ".join(re.findall(r"\w+", question.casefold()))
