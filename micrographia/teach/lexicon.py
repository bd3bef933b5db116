"""The phrases that state a fact: for every subject and value, in the forms that a frame can ask for.

A phrase stands for itself: "few or no dark spots", never "few". So an answer can be read back without its
question, and no phrase states two facts (``tests/teach/test_lexicon.py``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

from micrographia.records import CANNOT_TELL

Form = Literal["noun", "clause", "limit", "reasoned", "bare"]
"""noun: follows "shows"; clause: a sentence of its own; limit: one that says what cannot be told; reasoned:
a limit with its reason; bare: the value alone."""

Phrases = Mapping[Form, tuple[str, ...]]


def _fill(patterns: tuple[str, ...], words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(pattern.format(word) for pattern in patterns for word in words)


def _graded(
    nouns: tuple[str, ...], clauses: tuple[str, ...], words: Mapping[str, tuple[str, ...]]
) -> dict[str, Phrases]:
    """Phrases of each value: every pattern with every word for it, in the same order for all values."""
    return {
        value: {"noun": _fill(nouns, fitting), "clause": _fill(clauses, fitting)}
        for value, fitting in words.items()
    }


def _listed(
    nouns: Mapping[str, tuple[str, ...]], clauses: Mapping[str, tuple[str, ...]]
) -> dict[str, Phrases]:
    return {value: {"noun": nouns[value], "clause": clauses[value]} for value in nouns}


def _counted(what: str, words: Mapping[str, tuple[str, ...]]) -> dict[str, Phrases]:
    return _graded((f"{{}} {what}",), (f"{{}} {what} are present", f"{{}} {what} are visible"), words)


_SPOTS = {
    "few or none": ("few or no", "hardly any"),
    "several": ("several", "some"),
    "many": ("many", "numerous"),
}

_LEVELLED: dict[str, dict[str, Phrases]] = {
    "brightness": _graded(
        ("a {} overall tone", "a {} mean grey"),
        ("the overall tone is {}", "the mean grey is {}"),
        {"dark": ("dark", "low"), "medium": ("medium", "moderate"), "bright": ("bright", "high")},
    ),
    "contrast": _graded(
        ("{} contrast",),
        ("the contrast is {}", "the image has {} contrast"),
        {
            "low": ("low", "weak", "slight"),
            "moderate": ("moderate", "medium", "intermediate"),
            "high": ("high", "strong", "marked"),
        },
    ),
    "tone balance": _listed(
        {
            "mostly bright": (
                "dark features on a bright ground",
                "dark features on a brighter background",
                "a mostly bright field",
            ),
            "balanced": (
                "a balance of dark and bright areas",
                "an equal share of dark and bright areas",
                "a field half dark and half bright",
            ),
            "mostly dark": (
                "bright features on a dark ground",
                "bright features on a darker background",
                "a mostly dark field",
            ),
        },
        {
            "mostly bright": ("bright areas prevail", "most of the area is bright"),
            "balanced": ("dark and bright areas are balanced", "about half of the area is dark"),
            "mostly dark": ("dark areas prevail", "most of the area is dark"),
        },
    ),
    "shading": _graded(
        ("{} background",),
        ("the image has {} background",),
        {
            "even": ("an even", "a uniform"),
            "slight": ("a slightly shaded", "a slightly uneven"),
            "strong": ("a strongly shaded", "a strongly uneven"),
        },
    ),
    "evenness": _graded(
        ("{} distributed structure", "{} spread features"),
        ("the structure is {} distributed", "the features are {} spread"),
        {
            "even": ("evenly", "uniformly"),
            "fairly even": ("fairly evenly", "fairly uniformly"),
            "uneven": ("unevenly", "irregularly"),
        },
    ),
    "texture scale": _graded(
        ("a {} texture",),
        ("the texture is {}", "the image has a {} texture"),
        {
            "fine": ("fine", "fine-grained", "finely structured"),
            "medium": ("medium", "medium-grained", "moderately fine"),
            "coarse": ("coarse", "coarse-grained", "coarsely structured"),
        },
    ),
    "relief": _graded(
        ("a {} appearance", "a {} look"),
        ("the surface looks {}", "the surface appears {}"),
        {
            "smooth": ("smooth", "largely smooth"),
            "moderate": ("moderately rough", "slightly rough"),
            "rough": ("rough", "distinctly rough"),
        },
    ),
    "sharpness": _graded(
        ("{} edges", "{} detail"),
        ("the edges are {}", "the detail is {}"),
        {
            "soft": ("soft", "blurred"),
            "moderate": ("moderately sharp", "fairly sharp"),
            "sharp": ("sharp", "crisp"),
        },
    ),
    "alignment": _listed(
        {
            "isotropic": ("no preferred direction", "an isotropic structure", "no alignment"),
            "weak": ("a weak alignment", "a slight alignment", "a weakly aligned structure"),
            "strong": ("a strong alignment", "a marked alignment", "a strongly aligned structure"),
        },
        {
            "isotropic": (
                "the structure is isotropic",
                "no direction is preferred",
                "the alignment is negligible",
            ),
            "weak": (
                "the structure is weakly aligned",
                "one direction is weakly preferred",
                "the alignment is weak",
            ),
            "strong": (
                "the structure is strongly aligned",
                "one direction is strongly preferred",
                "the alignment is strong",
            ),
        },
    ),
    "direction": _graded(
        ("a {} main direction", "a {} orientation"),
        ("the main direction is {}", "the orientation is {}"),
        {
            "horizontal": ("horizontal", "left-to-right"),
            "rising diagonal": ("rising diagonal", "bottom-left-to-top-right"),
            "vertical": ("vertical", "top-to-bottom"),
            "falling diagonal": ("falling diagonal", "top-left-to-bottom-right"),
        },
    ),
    "dark spots": _counted("dark spots", _SPOTS),
    "bright spots": _counted("bright spots", _SPOTS),
    "lines": _counted(
        "straight lines", {"none": ("no", "no clear"), "few": ("a few", "some"), "many": ("many", "numerous")}
    ),
}

_TOLD: dict[str, tuple[str, ...]] = {
    "class": (
        "the class is {}",
        "the image shows the class {}",
        "the image belongs to the class {}",
        "the image is an example of {}",
        "this is the class {}",
        "its class is {}",
    ),
    "image size": ("the image size is {}", "the image measures {}"),
    "bit depth": ("the bit depth is {}", "the grey values have {}"),
    "pixel size": (
        "the pixel size is {}",
        "the scale is {} per pixel",
        "one pixel spans {}",
        "each pixel spans {}",
        "one pixel is {} wide",
        "each pixel is {} wide",
    ),
    "field width": (
        "the field of view is {} wide",
        "the field of view spans {}",
        "the field width is {}",
        "the whole image is {} wide",
        "the whole image spans {}",
        "the whole field spans {}",
    ),
    "technique": (
        "the technique is {}",
        "the imaging technique is {}",
        "the image was taken by {}",
        "the image was recorded by {}",
        "the micrograph was taken by {}",
        "the micrograph was recorded by {}",
    ),
    "voltage": ("the accelerating voltage is {}", "the beam was accelerated by {}"),
    "particle diameter": (
        "the median particle diameter is {}",
        "the particles have a median diameter of {}",
        "the median diameter of the particles is {}",
        "the median equivalent diameter is {}",
        "the particles measure {} across",
        "the particles are {} across",
    ),
    "particle count": (
        "the number of particles is {}",
        "the particle count is {}",
        "the particles in the field number {}",
        "the particles counted are {}",
        "the count of particles is {}",
        "the number of particles found is {}",
    ),
    "particle area fraction": (
        "the area fraction of particles is {}",
        "the particles cover {} of the field",
        "the share of the field under particles is {}",
        "the covered area is {}",
        "the coverage is {}",
        "the particles take up {} of the field",
    ),
    "fibre diameter": (
        "the median fibre diameter is {}",
        "the fibres have a median diameter of {}",
        "the median diameter of the fibres is {}",
        "the median width of the fibres is {}",
        "the fibres measure {} across",
        "the fibres are {} thick",
    ),
    "pitch": (
        "the pitch is {}",
        "the pattern repeats every {}",
        "the period of the pattern is {}",
        "the spacing of the pattern is {}",
        "the pattern has a pitch of {}",
        "neighbouring elements of the pattern are {} apart",
    ),
}
"""Clauses for a value that the data give, not this file."""

_THINGS: dict[str, tuple[str, str]] = {
    "pixel size": ("the pixel size", "no scale that can be trusted comes with it"),
    "absolute size": ("the absolute size", "no scale that can be trusted comes with it"),
    "technique": ("the imaging technique", "the record does not name it"),
    "composition": ("the composition", "grey levels are no elemental analysis"),
    "application": ("the intended application", "an image does not record a purpose"),
    "environment": ("the surrounding medium", "no record of it comes with the image"),
    "height": ("the height of features", "a single view has no third dimension"),
    "change": ("a change over time", "it holds a single moment"),
    "origin": ("the origin of the sample", "pixels do not record how it was made"),
    "editing": ("earlier editing", "no history of processing comes with it"),
    "contact": ("true contact between structures", "touching and overlapping look alike"),
    "function": ("the function of single regions", "grey levels do not show what a region does"),
    "cause": ("the cause of the features", "one image does not record their history"),
    "properties": ("the mechanical properties", "an image is no mechanical test"),
    "particle diameter": ("the particle size", "no outline of particles can be trusted"),
    "particle count": ("the number of particles", "no outline of particles can be trusted"),
    "particle area fraction": ("the area that particles cover", "no outline of particles can be trusted"),
    "fibre diameter": ("the fibre diameter", "no fibre with two edges was found"),
    "pitch": ("the pitch of a pattern", "nothing repeats regularly"),
}
"""The name of what cannot be told, and why not."""

_LIMITS = (
    "{} cannot be told from this image",
    "{} cannot be judged from this image",
    "{} cannot be read from this image",
    "this image does not show {}",
    "this image does not reveal {}",
    "this image alone does not tell {}",
)

SUBJECTS = frozenset(_LEVELLED) | frozenset(_TOLD) | frozenset(_THINGS)
"""Everything that can be spoken of."""


@cache
def phrases(subject: str, value: str, because: str | None = None) -> Phrases:
    """The phrases that state ``value`` of ``subject``, by form; empty for a value that has no words.

    The phrases of all values of a subject with ordered or directed values are parallel. ``because`` is why
    it cannot be told of this image, where that differs from image to image.
    """
    if value == CANNOT_TELL:
        return _limit(subject, because)
    if subject in _LEVELLED:
        return _LEVELLED[subject].get(value, {})
    if subject == "class":
        words = class_words(value)
        return {"bare": (words,), "clause": _fill(_TOLD[subject], (words,))}
    if subject in SUBJECTS:
        return {"clause": _fill(_TOLD[subject], (value,))} if subject in _TOLD else {}
    return {"clause": (f"the {subject} is {value}",)}  # a setting that nobody is taught about


def _limit(subject: str, because: str | None) -> Phrases:
    thing, usual = _THINGS.get(subject, (f"the {subject}", ""))
    reason = because or usual
    limits = tuple(pattern.format(thing) for pattern in _LIMITS)
    if not reason:
        return {"limit": limits}
    return {"limit": limits, "reasoned": tuple(f"{limit}, because {reason}" for limit in limits)}


def closed_phrases(subject: str) -> dict[str, str]:
    """Every phrase of the subject that needs no value from the data, with the value it states."""
    values = [*_LEVELLED.get(subject, ()), CANNOT_TELL]
    return {
        phrase: value
        for value in values
        for form in ("noun", "clause", "limit")
        for phrase in phrases(subject, value).get(form, ())
    }


def told_patterns(subject: str) -> tuple[str, ...]:
    """The subject's clauses with ``{}`` where a value from the data stands."""
    return _TOLD.get(subject, ())


def class_words(label: str) -> str:
    """A label as words: "rolled-in_scale" is "rolled-in scale", "SlightlyDefective" "slightly defective".

    Words written in capitals ("MEMS") stay as they are.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z][a-z]{2})", " ", label)
    words = re.split(r"[_\s]+", apart.strip("_ \t\n"))
    return " ".join(word.lower() if word.istitle() else word for word in words)


def wording_table() -> str:
    """All the words above as one text; its hash changes when any of them does."""
    return repr((_LEVELLED, _TOLD, _THINGS, _LIMITS))
