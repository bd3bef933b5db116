"""Reading facts back, and turning a text with its image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrographia.errors import WorkspaceError
from micrographia.measure import measure_image
from micrographia.records import CANNOT_TELL
from micrographia.teach.claims import class_names, read_claims, turned
from micrographia.teach.facts import facts_of
from micrographia.teach.generate import conversations
from micrographia.teach.measured import MeasuredTeacher
from micrographia.teach.questions import load, shipped
from tests.measure.drawn import stripes
from tests.teach.records import micrograph

TEACHER = MeasuredTeacher()
SETS = tuple(load(name) for name in shipped())


def taught(image, **known):
    record = micrograph(**known)
    return list(conversations(record, facts_of(record, measure_image(image)), SETS, TEACHER, 0))


def test_only_the_subjects_asked_for_are_read():
    text = "Low contrast was seen, and the texture is fine; the pixel size is 5.2 nm."
    assert read_claims(text, ["contrast"]) == {"contrast": "low"}
    assert read_claims(text, ["texture scale", "pixel size"]) == {
        "texture scale": "fine",
        "pixel size": "5.2 nm",
    }
    assert read_claims(text, ["lines"]) == {}
    assert read_claims(text, []) == {}


def test_a_contradiction_equals_neither_value():
    assert read_claims("High contrast; the contrast is low.", ["contrast"]) == {"contrast": "high / low"}


def test_saying_it_twice_is_no_contradiction():
    assert read_claims("High contrast; the contrast is strong.", ["contrast"]) == {"contrast": "high"}


def test_the_longest_phrase_counts():
    labels = ["scale", "rolled-in_scale"]
    assert read_claims("The class is rolled-in scale.", ["class"], labels) == {"class": "rolled-in_scale"}
    assert read_claims("The class is scale.", ["class"], labels) == {"class": "scale"}


def test_a_limit_is_read_as_one():
    text = "This image does not reveal the composition. The imaging technique cannot be told from this image."
    assert read_claims(text, ["composition", "technique"]) == {
        "composition": CANNOT_TELL,
        "technique": CANNOT_TELL,
    }


def test_two_labels_with_one_name_are_refused():
    assert class_names(["rolled-in_scale", "Tips"]) == {"rolled-in scale": "rolled-in_scale", "tips": "Tips"}
    with pytest.raises(WorkspaceError, match="both read as 'rolled-in scale'"):
        class_names(["rolled-in_scale", "Rolled-In Scale"])


def test_a_label_without_words_is_refused():
    with pytest.raises(WorkspaceError, match="'_' has no word"):
        class_names(["Tips", "_"])


def same(one, other):
    """Equal but for the rounding of a turned angle."""

    def without_angles(conversation):
        claims = tuple(
            c.model_copy(update={"quantity": None}) if c.directional else c for c in conversation.claims
        )
        return conversation.model_copy(update={"claims": claims})

    angles = [[c.quantity.value for c in conv.claims if c.directional] for conv in (one, other)]
    apart = [abs((a - b + 90) % 180 - 90) for a, b in zip(*angles, strict=True)]
    return without_angles(one) == without_angles(other) and all(angle < 1e-9 for angle in apart)


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_four_quarter_turns_and_two_mirrors_change_nothing(angle):
    for conversation in taught(stripes(angle)):
        after = conversation
        for _ in range(4):
            after = turned(after, 1, False)
        assert same(after, conversation)
        for quarters in range(4):
            # Mirroring and then turning is its own inverse.
            assert same(turned(turned(conversation, quarters, True), quarters, True), conversation)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 179), st.integers(0, 3), st.booleans())
def test_turning_the_text_is_teaching_the_turned_image(angle, quarters, mirrored):
    if abs(angle % 45 - 22.5) < 3:
        angle += 6  # not on the border between two directions
    image = stripes(angle, shape=(160, 160))
    view = np.rot90(np.fliplr(image) if mirrored else image, quarters)
    for before, after in zip(taught(image), taught(np.ascontiguousarray(view)), strict=True):
        text = turned(before, quarters, mirrored)
        assert text.answer == after.answer
        assert text.turns == after.turns
        for one, other in zip(text.claims, after.claims, strict=True):
            assert (one.subject, one.value, one.start, one.end) == (
                other.subject,
                other.value,
                other.start,
                other.end,
            )


def test_the_measured_angle_turns_too():
    conversation = next(c for c in taught(stripes(0)) if any(claim.directional for claim in c.claims))
    angle = next(claim for claim in turned(conversation, 1, False).claims if claim.directional).quantity.value
    assert angle == pytest.approx(90, abs=1.5)


def test_foreign_words_for_a_direction_cannot_be_turned():
    conversation = next(c for c in taught(stripes(0)) if any(claim.directional for claim in c.claims))
    claim = next(claim for claim in conversation.claims if claim.directional)
    foreign = claim.model_copy(update={"end": claim.end - 1})
    assert turned(conversation.model_copy(update={"claims": (foreign,)}), 1, False) is None


@pytest.mark.parametrize(("quarters", "kept"), [(0, True), (1, False), (2, True), (3, False)])
def test_a_width_is_not_said_of_an_oblong_image_on_its_side(quarters, kept):
    header = {"pixel_size_nm": 2.5, "technique": "SEM"}
    wide = [c for c in taught(stripes(90), height=768, **header) if says_width(c)]
    square = [c for c in taught(stripes(90), **header) if says_width(c)]
    assert wide and square
    assert all((turned(c, quarters, True) is not None) == kept for c in wide)
    assert all(turned(c, quarters, True) is not None for c in square)


def says_width(conversation):
    return any(claim.subject in ("image size", "field width") for claim in conversation.claims)


def test_texts_without_a_direction_stay_as_they_are():
    for conversation in taught(stripes(90)):
        if not any(claim.directional for claim in conversation.claims):
            assert turned(conversation, 3, True) == conversation
