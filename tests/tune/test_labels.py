"""Labels for the eye: closed sets from claims, true of every view they are shown with."""

import numpy as np
import pytest
import torch

from micrographia.recipe import LabelsStage
from micrographia.records import CANNOT_TELL, Claim, Conversation, Quantity, Turn
from micrographia.students.configuration import VisionConfig
from micrographia.students.views import dihedral
from micrographia.teach.levels import DIRECTIONS, LEVELS, direction_at
from micrographia.tune.labels import (
    FEWEST,
    UNKNOWN,
    LabelBatches,
    facts_by_micrograph,
    label_sets,
    learn_labels,
)
from micrographia.tune.order import Draw, Order, Plain
from micrographia.tune.precision import Precision
from tests.students.tiny import SIDE
from tests.tune.small import Counting, noise

ID = "a" * 64


def claim(kind, subject, value):
    return Claim(kind=kind, subject=subject, value=value, evidence=subject, start=0, end=1)


def about(identity, *claims):
    turns = (Turn(role="user", text="What?"), Turn(role="assistant", text="This."))
    fields = {"task": "vqa", "question_set": "s", "question": "q", "teacher": "t", "turns": turns}
    return Conversation(id="b" * 64, micrographs=(identity,), claims=claims, **fields)


def facts_of(**values):
    """Facts of one image: what is measured, and its class."""
    kinds = {subject: "label" if subject == "class" else "measured" for subject in values}
    return {subject: claim(kinds[subject], subject, value) for subject, value in values.items()}


def test_facts_are_what_the_pixels_show():
    conversations = [
        about(ID, claim("label", "class", "Tips"), claim("metadata", "technique", "SEM")),
        about(ID, claim("measured", "contrast", "high"), claim("limit", "pixel size", CANNOT_TELL)),
        about("c" * 64, claim("measured", "direction", CANNOT_TELL), claim("prior", "use", "probes")),
        about("d" * 64, claim("measured", "contrast", "low")),
    ]
    facts = facts_by_micrograph(conversations)
    assert {identity: {s: c.value for s, c in image.items()} for identity, image in facts.items()} == {
        ID: {"class": "Tips", "contrast": "high"},
        "d" * 64: {"contrast": "low"},
    }


def test_a_value_of_few_training_images_is_unknown():
    levels = ["low"] * FEWEST + ["high"] * FEWEST + ["moderate"] * (FEWEST - 1)
    facts = [facts_of(contrast=level) for level in levels] + [{}]
    sets = label_sets(facts, range(len(facts)))
    assert sets.values == {"contrast": ["high", "low"]}
    assert sets.table[:, 0].tolist() == [1] * FEWEST + [0] * FEWEST + [UNKNOWN] * FEWEST


def test_a_class_is_kept_however_rare_but_only_if_training_has_it():
    facts = [facts_of(**{"class": label}) for label in ["Tips", "Powder", "Powder", "Films"]]
    sets = label_sets(facts, [0, 1, 2])
    assert sets.values == {"class": ["Powder", "Tips"]}
    assert sets.table[:, 0].tolist() == [1, 0, 0, UNKNOWN]


def test_counting_looks_at_training_images_only():
    facts = [facts_of(contrast="low")] * FEWEST + [facts_of(contrast="high")] * 50
    assert label_sets(facts, range(FEWEST)).values == {}


def test_directions_need_as_many_images_as_other_values():
    facts = [facts_of(direction="vertical")] * (FEWEST - 1) + [{}] * 20
    assert label_sets(facts, range(24)).values == {}
    facts = [facts_of(direction="vertical")] * FEWEST + [{}] * 20
    assert label_sets(facts, range(25)).values == {"direction": list(DIRECTIONS)}


def test_it_is_known_whether_any_image_of_some_has_a_label():
    facts = [facts_of(contrast="high" if i % 2 else "low") for i in range(20)] + [{}] * 3
    sets = label_sets(facts, range(20))
    assert sets.known([19, 20]) and not sets.known([20, 21, 22])


def test_a_set_with_one_value_is_no_set():
    sets = label_sets([facts_of(**{"class": "Tips"}, contrast="low")] * 20, range(20))
    assert (sets.values, sets.table.shape) == ({}, (20, 0))


def test_columns_are_in_alphabetical_order():
    facts = [facts_of(lines="few", **{"class": "A"}, contrast="low")] * FEWEST
    facts += [facts_of(lines="many", **{"class": "B"}, contrast="high")] * FEWEST
    sets = label_sets(facts, range(len(facts)))
    assert list(sets.values) == ["class", "contrast", "lines"]
    assert [sets.column(name) for name in sets.values] == [0, 1, 2]
    assert VisionConfig(labels=sets.values).labels == sets.values


# Amounts


def measured(subject, number):
    """Facts of an image whose level was read from a number."""
    level = claim("measured", subject, LEVELS[subject].level(number))
    return {subject: level.model_copy(update={"quantity": Quantity(value=number)})}


def test_a_level_that_was_read_from_a_number_is_learnt_as_the_number():
    numbers = np.linspace(5, 60, 24)
    sets = label_sets([measured("contrast", n) for n in numbers] + [{}], range(20))
    assert sets.values == {"contrast": ["low", "moderate", "high"]}  # in order, and also who has no image
    mean, deviation = numbers[:20].mean(), numbers[:20].std()
    assert sets.amounts[:24, 0] == pytest.approx((numbers - mean) / deviation, abs=1e-5)
    assert sets.cuts["contrast"] == pytest.approx((np.array([20, 40]) - mean) / deviation)
    assert np.isnan(sets.amounts[24, 0]) and sets.table[24, 0] == UNKNOWN


def test_a_number_of_many_magnitudes_is_learnt_on_a_logarithmic_scale():
    numbers = np.array([0, 1, 2, 4, 4.5, 5, 9, 12, 15, 19, 25, 90, 300, 500, 2000, 4000])
    sets = label_sets([measured("dark spots", n) for n in numbers], range(16))
    assert np.isfinite(sets.amounts).all() and sets.amounts.max() < 2.5
    assert (np.diff(sets.amounts[:, 0]) > 0).all()


@pytest.mark.parametrize("subject", LEVELS)
def test_amounts_lie_between_the_cuts_of_their_level(subject):
    """So whoever reads the amount rightly tells the level rightly."""
    low, high = LEVELS[subject].thresholds
    numbers = np.concatenate([np.linspace(0, 2 * high, 38), [low, high]])
    sets = label_sets([measured(subject, n) for n in numbers], range(len(numbers)))
    read = np.searchsorted(sets.cuts[subject], sets.amounts[:38, 0], side="right")
    assert read.tolist() == sets.table[:38, 0].tolist()


def test_an_amount_goes_with_the_whole_image_and_not_with_a_crop():
    facts = [facts_of(**{"class": "AB"[i % 2]}) | measured("contrast", 10 + i) for i in range(20)]
    collate = LabelBatches(noise(20), label_sets(facts, range(20)))
    batch = collate([Draw(i, 5) for i in range(20)])
    assert batch["amounts"][0::2].isnan().all()
    assert torch.equal(batch["amounts"][1::2], torch.from_numpy(collate.sets.amounts[1::2]))
    plain = collate([Draw(i, None) for i in range(20)])
    assert torch.equal(plain["amounts"], torch.from_numpy(collate.sets.amounts))


# Views


def striped(angle, side=SIDE):
    """Lines at ``angle`` degrees counter-clockwise from horizontal."""
    rows, columns = np.mgrid[:side, :side] / side
    across = np.cos(np.radians(angle)) * rows + np.sin(np.radians(angle)) * columns
    return np.sin(2 * np.pi * 8 * across).astype(np.float16)


def seen_direction(image):
    """The direction of the lines in an image, by its gradients (the structure tensor's main axis)."""
    down, right = np.gradient(image.astype(float))
    gradient = np.degrees(np.arctan2(2 * (-down * right).sum(), (right**2 - down**2).sum())) / 2
    return direction_at(gradient + 90)


@pytest.fixture(scope="module")
def stripes():
    """Images of all four directions with their labels; two classes."""
    pixels = np.stack([striped(45 * (i // 2 % 4)) for i in range(40)])[:, None]
    facts = [
        facts_of(
            **{"class": f"kind {i % 2}"}, direction=DIRECTIONS[i // 2 % 4], lines="many" if i % 3 else "few"
        )
        for i in range(40)
    ]
    return LabelBatches(pixels, label_sets(facts, range(40)))


def test_the_drawn_stripes_are_what_they_are_called():
    assert [seen_direction(striped(45 * i)) for i in range(4)] == list(DIRECTIONS)


def test_a_direction_turns_with_the_image(stripes):
    column = stripes.sets.column("direction")
    turned = set()
    for seed in range(6):
        batch = stripes([Draw(i, 100 * seed) for i in range(40)])
        for i in range(1, 40, 2):
            label = DIRECTIONS[batch["labels"][i, column]]
            assert label == seen_direction(batch["pixel_values"][i, 0].numpy())
            turned.add((DIRECTIONS[i // 2 % 4], label))
    assert len(turned) == 8  # each of four directions as it was and a quarter turn on


def test_the_whole_half_is_a_turn_of_the_image_and_nothing_else(stripes):
    batch = stripes([Draw(i, 5) for i in range(40)])
    pixels = torch.from_numpy(stripes.pixels.astype(np.float32))
    for i in range(1, 40, 2):
        image = pixels[i : i + 1]
        views = [
            dihedral(image, torch.tensor([turns]), torch.tensor([mirrored]))[0]
            for turns in range(4)
            for mirrored in (False, True)
        ]
        assert any(torch.equal(batch["pixel_values"][i], view) for view in views)


def test_the_cropped_half_teaches_its_class_only(stripes):
    batch = stripes([Draw(i, 5) for i in range(40)])
    column = stripes.sets.column("class")
    others = [i for i in range(len(stripes.sets.values)) if i != column]
    plain = torch.from_numpy(stripes.sets.table)
    assert torch.equal(batch["labels"][:, column], plain[:, column])
    assert (batch["labels"][0::2][:, others] == UNKNOWN).all()
    assert (batch["labels"][1::2][:, others] != UNKNOWN).all()


def test_without_classes_every_image_is_whole_and_keeps_its_facts():
    facts = [facts_of(contrast="high" if i % 2 else "low") for i in range(20)]
    collate = LabelBatches(noise(20), label_sets(facts, range(20)))
    batch = collate([Draw(i, 3) for i in range(20)])
    assert batch["labels"][:, 0].tolist() == [1 - i % 2 for i in range(20)]
    assert sorted(batch["pixel_values"][0].ravel().tolist()) == sorted(collate.pixels[0].ravel().tolist())


def test_an_unknown_direction_stays_unknown():
    facts = [facts_of(direction=DIRECTIONS[i % 4]) if i < 20 else {} for i in range(24)]
    collate = LabelBatches(noise(24), label_sets(facts, range(24)))
    labels = collate([Draw(i, 9) for i in range(24)])["labels"][:, 0]
    assert (labels[20:] == UNKNOWN).all() and (labels[:20] != UNKNOWN).all()


def test_validation_sees_images_and_labels_as_they_are(stripes):
    batch = stripes([Draw(i, None) for i in (3, 1)])
    assert torch.equal(batch["labels"], torch.from_numpy(stripes.sets.table[[3, 1]]))
    assert np.array_equal(batch["pixel_values"].numpy(), stripes.pixels[[3, 1]].astype(np.float32))


def test_the_same_seed_gives_the_same_batch(stripes):
    one, two, other = (stripes([Draw(i, seed) for i in range(8)]) for seed in (4, 4, 5))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["pixel_values"], other["pixel_values"])


def test_an_eye_learns_to_tell_smooth_from_rough(tmp_path):
    """Not a benchmark: where a few steps do not tell noise from soft stripes, something is broken."""
    pixels = noise(48)
    pixels[::2, 0] = striped(30)
    facts = [facts_of(**{"class": "smooth" if i % 2 == 0 else "rough"}) for i in range(48)]
    eye = VisionConfig(
        image_size=SIDE, patch_size=16, hidden_size=32, key_size=8, window=2, local_layers=1, global_layers=1
    )
    model, curve = learn_labels(
        *(eye, label_sets(facts, range(40)), pixels, Order(range(40), 6, 0), Plain(range(40, 48))),
        *(LabelsStage(batch=8), tmp_path, Precision(False, "tests"), Counting()),
    )
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(pixels[40:].astype(np.float32))).logits["class"]
    assert logits.argmax(1).tolist() == [1, 0] * 4
    losses = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    assert len(losses) == 6 and min(losses) < 0.6 * losses[0]
