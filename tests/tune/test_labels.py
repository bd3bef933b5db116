"""Labels for the eye: closed sets from claims, true of every view they are shown with."""

import numpy as np
import pytest
import torch

from micrographia.recipe import LabelsStage
from micrographia.records import CANNOT_TELL, Claim, Conversation, Turn
from micrographia.students.views import dihedral
from micrographia.students.vision import VisionConfig
from micrographia.teach.levels import DIRECTIONS, direction_at
from micrographia.tune.labels import (
    FEWEST,
    UNKNOWN,
    LabelBatches,
    facts_by_micrograph,
    label_sets,
    learn_labels,
)
from micrographia.tune.order import Draw
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


def test_facts_are_what_the_pixels_show():
    conversations = [
        about(ID, claim("label", "class", "Tips"), claim("metadata", "technique", "SEM")),
        about(ID, claim("measured", "contrast", "high"), claim("limit", "pixel size", CANNOT_TELL)),
        about("c" * 64, claim("measured", "direction", CANNOT_TELL), claim("prior", "use", "probes")),
        about("d" * 64, claim("measured", "contrast", "low")),
    ]
    assert facts_by_micrograph(conversations) == {
        ID: {"class": "Tips", "contrast": "high"},
        "d" * 64: {"contrast": "low"},
    }


def test_a_value_of_few_training_images_is_unknown():
    levels = ["low"] * FEWEST + ["high"] * FEWEST + ["moderate"] * (FEWEST - 1)
    facts = [{"contrast": level} for level in levels] + [{}]
    sets = label_sets(facts, range(len(facts)))
    assert sets.values == {"contrast": ["high", "low"]}
    assert sets.table[:, 0].tolist() == [1] * FEWEST + [0] * FEWEST + [UNKNOWN] * FEWEST


def test_a_class_is_kept_however_rare_but_only_if_training_has_it():
    facts = [{"class": label} for label in ["Tips", "Powder", "Powder", "Films"]]
    sets = label_sets(facts, [0, 1, 2])
    assert sets.values == {"class": ["Powder", "Tips"]}
    assert sets.table[:, 0].tolist() == [1, 0, 0, UNKNOWN]


def test_counting_looks_at_training_images_only():
    facts = [{"contrast": "low"}] * FEWEST + [{"contrast": "high"}] * 50
    assert label_sets(facts, range(FEWEST)).values == {}


def test_a_set_with_one_value_is_no_set():
    sets = label_sets([{"class": "Tips", "contrast": "low"}] * 20, range(20))
    assert (sets.values, sets.table.shape) == ({}, (20, 0))


def test_columns_are_in_alphabetical_order():
    facts = [{"lines": "few", "class": "A", "contrast": "low"}] * FEWEST
    facts += [{"lines": "many", "class": "B", "contrast": "high"}] * FEWEST
    sets = label_sets(facts, range(len(facts)))
    assert list(sets.values) == ["class", "contrast", "lines"]
    assert [sets.column(name) for name in sets.values] == [0, 1, 2]
    assert VisionConfig(labels=sets.values).labels == sets.values


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
        {"class": f"kind {i % 2}", "direction": DIRECTIONS[i // 2 % 4], "lines": "many"} for i in range(40)
    ]
    for i in range(0, 40, 3):
        facts[i]["lines"] = "few"
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
    facts = [{"contrast": "high" if i % 2 else "low"} for i in range(20)]
    collate = LabelBatches(noise(20), label_sets(facts, range(20)))
    batch = collate([Draw(i, 3) for i in range(20)])
    assert batch["labels"][:, 0].tolist() == [1 - i % 2 for i in range(20)]
    assert sorted(batch["pixel_values"][0].ravel().tolist()) == sorted(collate.pixels[0].ravel().tolist())


def test_an_unknown_direction_stays_unknown():
    facts = [{"direction": DIRECTIONS[i % 4]} if i < 20 else {} for i in range(24)]
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
    facts = [{"class": "smooth" if i % 2 == 0 else "rough"} for i in range(48)]
    eye = VisionConfig(
        image_size=SIDE, patch_size=16, hidden_size=32, key_size=8, window=2, local_layers=1, global_layers=1
    )
    model, curve = learn_labels(
        *(eye, label_sets(facts, range(40)), pixels, range(40), range(40, 48)),
        *(LabelsStage(epochs=6, batch=8), 0, tmp_path, Precision(False, "tests"), Counting()),
    )
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(pixels[40:].astype(np.float32))).logits["class"]
    assert logits.argmax(1).tolist() == [1, 0] * 4
    losses = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    assert len(losses) == 6 and min(losses) < 0.6 * losses[0]
