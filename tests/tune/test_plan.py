"""The plan says what will be done and what is left out, or why nothing can be."""

from types import SimpleNamespace

import pytest

from micrographia.errors import PlanError
from micrographia.recipe import LabelsStage, TuneSection
from micrographia.records import Box
from micrographia.students.chat import Tokens
from micrographia.tune.collate import Text
from micrographia.tune.memory import Memory
from micrographia.tune.plan import (
    FEWEST_EPOCHS,
    LABEL_STEPS,
    WORD_STEPS,
    Scaled,
    plan,
    sample_tokens,
    squashed,
    with_texts,
    without_too_long,
    word_order,
)
from micrographia.tune.precision import Precision
from micrographia.tune.train import tune
from micrographia.workspace import open_workspace
from tests.tune.small import Counting
from tests.tune.test_sighted import lab_with, section

PRECISION = Precision(False, "bfloat16 is slower here")
RECIPE = TuneSection(epochs=3, batch=4, labels=LabelsStage(epochs=5, batch=2))
PARTS = {"train": list(range(9)), "validation": [9, 10], "test": [11]}


def text(question, *answers):
    return Text("vqa", list(range(question)), tuple(None if n is None else list(range(n)) for n in answers))


TEXTS = [{"vqa": [text(3, 4)], "caption": [text(2, 6, 9, None)]}] * 12


MEMORY = Memory([], 2**30, accumulates=False)
SCALED = Scaled("64 x 64 px, grey", 0.12, 0.64)


def planned(parts=PARTS, texts=TEXTS, left_out=(), untaught=0, recipe=RECIPE, eye="labels", **more):
    samples = sample_tokens(texts, image_tokens=17)
    return plan(*(parts, untaught, SCALED, samples, left_out, 4000, recipe, eye, PRECISION, MEMORY), **more)


def test_counts_are_those_of_the_data_and_the_recipe():
    made = planned()
    assert (made.training, made.validation, made.test) == (9, 2, 1)
    assert made.samples == [Tokens(17, 7), Tokens(17, 11)] * 12
    assert (made.label_steps, made.steps, made.eye) == (5 * 4, 3 * 2, "labels")


def test_places_in_a_text_stand_for_the_image_and_are_no_text():
    assert sample_tokens(TEXTS[:1], image_tokens=17, places=2) == [Tokens(17, 5), Tokens(17, 9)]


def micrograph(width, height, field=None):
    return SimpleNamespace(width=width, height=height, field=field)


def test_scales_are_those_of_the_fields_along_both_sides():
    images = [micrograph(1024, 960, Box(left=0, top=0, right=1024, bottom=800)), micrograph(200, 160)]
    scaled = squashed(images, (2, 1, 128, 128))
    assert (scaled.least, scaled.most) == (0.125, 0.8)
    assert str(scaled) == "128 x 128 px, grey; scaled by 0.12 to 0.8, so that 10 px become 1.2 at worst"
    enlarged = str(squashed([micrograph(4, 4)], (1, 3, 8, 8)))
    assert enlarged == "8 x 8 px, colour; scaled by 2, so that 10 px become 20 at worst"


def test_stages_between_the_eye_and_the_words_have_a_line_each():
    made = planned(between={"language": 608, "projector": 60}).lines()
    at = made.index("language     608 steps")
    assert made[at + 1] == "projector    60 steps"
    assert made[at - 1].startswith("eye  ") and made[at + 2].startswith("words  ")


def test_the_steps_that_are_told_are_those_that_are_done(taught, tmp_path):
    lab = lab_with(taught, tmp_path / "lab", section("llava", ", views: 1, low_rank: {method: none}"))
    progress, said = Counting(), []
    with open_workspace(lab) as workspace:
        tune(workspace, progress=progress, say=said.append)
    for stage, line in (
        ("learning labels", "eye          labels first ({} steps), then frozen while words are learned"),
        ("learning the language", "language     {} steps"),
        ("learning to project", "projector    {} steps"),
        ("learning words", "words        up to {} steps"),
    ):
        assert line.format(progress.tasks[stage]) in said


def test_without_labels_the_eye_learns_with_the_words():
    made = planned(eye="words")
    assert (made.label_steps, made.eye) == (0, "words")
    assert "learns together with the words" in "\n".join(made.lines())


def test_a_given_eye_is_frozen_as_it_came():
    made = planned(eye="nothing")
    assert made.label_steps == 0
    assert "frozen, as it came" in "\n".join(made.lines())


@pytest.mark.parametrize("images", [40, 500])
def test_where_the_recipe_says_nothing_there_are_as_many_epochs_as_make_the_steps(images):
    made = planned(parts=PARTS | {"train": list(range(images))}, texts=TEXTS * 50, recipe=TuneSection())
    assert LABEL_STEPS <= made.label_steps < LABEL_STEPS + images / 16
    assert WORD_STEPS <= made.steps < WORD_STEPS + images / 16


def test_of_many_images_each_is_seen_some_times():
    assert len(word_order(range(10_000), TuneSection())) == FEWEST_EPOCHS * 10_000


def test_fewer_draws_than_a_batch_are_a_step():
    assert planned(recipe=TuneSection(epochs=3, batch=32)).steps == 1


def test_the_lines_say_it_all():
    lines = "\n".join(
        planned(left_out=["a.png: 60 tokens, 48 are read"], untaught=2, shown="4 like images").lines()
    )
    for words in (
        *(
            "9 train, 2 validation, 1 test (kept away); 2 left out, not taught",
            "64 x 64 px, grey; scaled by 0.12 to 0.64",
            "1 texts; a.png: 60",
            "1,024 MiB free",
            "4 like images",
        ),
        *(
            "labels first (20 steps)",
            "up to 6 steps",
            "float32: bfloat16 is slower here",
            "24; 17 image tokens and 9 (median) to 11 text tokens",
        ),
    ):
        assert words in lines


def test_a_text_that_is_too_long_is_listed_and_left_out():
    texts = [{"vqa": [text(10, 30), text(10, 31)]}, {"vqa": [text(3, 4, 99)], "caption": [text(1, 1)]}]
    kept, left_out = without_too_long(texts, ["a.png", "b.png"], 40, places=2)
    assert [len(t) for image in kept for t in image.values()] == [1, 0, 1]
    assert kept[0]["vqa"] == [text(10, 30)]
    assert left_out == [
        "a.png: 41 tokens, 2 of images and 39 of texts; 40 are read",
        "b.png: 102 tokens, 2 of images and 100 of texts; 40 are read",
    ]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_nothing_to_learn_from_or_to_validate_with_is_an_error(part):
    with pytest.raises(PlanError, match=f"no image of the {part} part.*split"):
        with_texts(PARTS | {part: []}, TEXTS)


def test_images_of_which_nothing_is_left_to_say_take_no_part():
    kept, _ = without_too_long([TEXTS[0], {"vqa": [text(90, 9)]}, TEXTS[0]], ["a.png", "b.png", "c.png"], 40)
    assert with_texts({"train": [0, 1], "validation": [2]}, kept) == {"train": [0], "validation": [2]}
    with pytest.raises(PlanError, match="validation part has a conversation that the student can read"):
        with_texts({"train": [0], "validation": [1]}, kept)
