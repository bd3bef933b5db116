"""Phrases are unambiguous: each states one value of one subject and can be read back alone."""

import re

import pytest

from micrographia.records import CANNOT_TELL
from micrographia.teach.claims import read_claims
from micrographia.teach.levels import DIRECTIONS, LEVELS
from micrographia.teach.lexicon import SUBJECTS, class_words, closed_phrases, phrases

TOLD = {
    "class": "Rolled-in_Scale",
    "image size": "640 × 480 px",
    "bit depth": "16 bit",
    "pixel size": "5.2 nm",
    "field width": "1.25 µm",
    "technique": "Cryo-SEM",
    "voltage": "15 kV",
    "particle diameter": "1.8 µm (n = 36, 95 % interval 1.6 µm to 2.2 µm)",
    "particle count": "36 (95 % interval 25.2 to 49.8)",
    "particle area fraction": "7.25 % (n = 36)",
    "fibre diameter": "34.5 px",
    "pitch": "250 nm",
}


def levelled():
    yield from ((subject, value) for subject, levels in LEVELS.items() for value in levels.values)
    yield from (("direction", value) for value in DIRECTIONS)


def everything():
    yield from levelled()
    yield from ((subject, CANNOT_TELL) for subject in sorted(SUBJECTS - {"class", "image size", "bit depth"}))
    yield from TOLD.items()


@pytest.mark.parametrize(("subject", "value"), list(levelled()))
def test_every_level_has_several_phrases_of_either_form(subject, value):
    assert len(set(phrases(subject, value)["noun"])) >= 2
    assert len(set(phrases(subject, value)["clause"])) >= 2


def test_no_phrase_states_two_things():
    meaning = {}
    for subject in SUBJECTS:
        for phrase, value in closed_phrases(subject).items():
            assert meaning.setdefault(phrase.casefold(), (subject, value)) == (subject, value), phrase
    for phrase, stated in meaning.items():
        for other, means in meaning.items():
            if phrase != other and means != stated and re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", other):
                # Contained in a longer phrase of another meaning: the longest match has to tell them apart.
                assert read_claims(other, [stated[0], means[0]]) == {means[0]: means[1]}, (phrase, other)


@pytest.mark.parametrize(("subject", "value"), list(everything()))
def test_every_phrase_is_read_back_among_all_subjects(subject, value):
    found = phrases(subject, value)
    assert found
    for form, options in found.items():
        for phrase in options:
            stated = read_claims(f"{phrase[0].upper()}{phrase[1:]}.", SUBJECTS, [TOLD["class"], "patches"])
            assert stated == {subject: value}, (form, phrase)


def test_phrases_of_directions_are_parallel():
    for form in ("noun", "clause"):
        assert len({len(phrases("direction", value)[form]) for value in DIRECTIONS}) == 1


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("rolled-in_scale", "rolled-in scale"),
        ("Films_and_Coated_Surfaces", "films and coated surfaces"),
        ("MEMS_Devices_and_Electrodes", "MEMS devices and electrodes"),
        ("SlightlyDefective", "slightly defective"),
        ("SiC", "SiC"),
        ("5", "5"),
        ("Porous Sponge", "porous sponge"),
    ],
)
def test_labels_as_words(label, words):
    assert class_words(label) == words


def test_a_value_without_words_has_no_phrases():
    assert phrases("contrast", "enormous") == {}
