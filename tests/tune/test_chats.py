"""Rows of chats: how long they are is told without an image, and steps are parts of like length."""

from types import SimpleNamespace

import numpy as np
import pytest

from micrographia.recipe import TuneSection
from micrographia.students.chat import ChatProcessor
from micrographia.tune import chats as room
from micrographia.tune.chats import ChatBatches, Counted
from micrographia.tune.collate import Text
from micrographia.tune.order import Draw
from tests.students.hub_models import PROCESSORS, chats

SIZES = [(96, 96), (64, 128), (32, 48), (128, 120)]
"""(rows, columns)"""
LABELS = ["fibres", "a patterned surface of many words", "powder", "fibres"]


def micrographs():
    return [
        SimpleNamespace(
            id=str(row), name=f"{row}.png", height=size[0], width=size[1], field=None, label=label
        )
        for row, (size, label) in enumerate(zip(SIZES, LABELS, strict=True))
    ]


def texts():
    """The more of them, and the longer, the later their image comes; answers have a length in each view."""
    return [
        {
            "category": [Text("category", "Which class?", ("fibres",))],
            "caption": [Text("caption", "What is shown?", ("Fibres of 12 nm. " * (row + 1),))],
            "vqa": [
                Text("vqa", "Pores? " * n, ("no", None, *("None at all. " * n,) * 6))
                for n in range(1, row + 2)
            ],
        }
        for row in range(len(SIZES))
    ]


def batches(kind="qwen3-vl", room=None, longest=None, **fields):
    """Of four images of different size, each of which is shown the next."""
    recipe = TuneSection(family="hub", start_from="model", **fields)
    corpus = SimpleNamespace(
        micrographs=micrographs(), commonest_prompt=lambda task, length: "What class of structure is this?"
    )
    run = SimpleNamespace(recipe=recipe, corpus=corpus, workspace=SimpleNamespace(objects=None))
    processor = ChatProcessor(PROCESSORS[kind](), longest=longest) if longest else chats(kind)
    shown = {row: [(row + 1) % len(SIZES)] for row in range(len(SIZES))}
    return ChatBatches(run, Counted(processor, corpus.micrographs, recipe.views), texts(), shown, room)


@pytest.fixture
def drawn(monkeypatch):
    """Images without files."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        room, "open_field", lambda objects, m: rng.integers(0, 255, (m.height, m.width), dtype=np.uint8)
    )


@pytest.mark.parametrize(
    "kind", [*PROCESSORS, "llava-next"]
)  # of which the last reads more of some if turned
@pytest.mark.parametrize("views", [1, 8])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_largest_rows_of_an_image_are_at_least_as_long_as_any_that_are_drawn(kind, views, count):
    made = batches(kind, texts_per_image=count, views=views)
    for image in range(len(SIZES)):
        largest = made.largest(image)
        rows = [made.rows(Draw(image, seed)) for seed in range(60)]
        assert max(map(len, largest)) == max(map(len, rows))
        longest, other = (max(made.length(row) for one in some for row in one) for some in (largest, rows))
        assert longest == other if views == 8 else longest >= other


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_row_is_as_long_as_it_is_told(drawn, kind):
    made = batches(kind, texts_per_image=4, views=8)
    rows = [row for image in range(len(SIZES)) for row in made.rows(Draw(image, 8 * image + 1))]
    assert {len(row.images) for row in rows} == {1, 2}
    assert [made.batch([row])["input_ids"].shape[1] for row in rows] == list(map(made.length, rows))


def test_a_step_is_cut_into_parts_of_like_length_within_the_room(drawn):
    draws = [Draw(image, 11 * image) for image in range(len(SIZES))]
    whole = batches(texts_per_image=3, views=1)
    lengths = sorted(whole.length(row) for draw in draws for row in whole.rows(draw))
    limit = 2 * lengths[-1]
    step = batches(texts_per_image=3, views=1, room=limit)(draws)
    shapes = [part["input_ids"].shape for part in step["parts"]]
    assert len(shapes) > 2 and all(rows * length <= limit for rows, length in shapes)
    told = [int(row.sum()) for part in step["parts"] for row in part["attention_mask"]]
    assert told == lengths
    learned = [int((batch["labels"] != -100).sum()) for batch in (whole(draws), step, *step["parts"])]
    assert learned[0] == learned[1] == sum(learned[2:])


@pytest.mark.parametrize("kind", PROCESSORS)
def test_the_largest_examples_are_those_whose_image_and_label_take_up_most(kind):
    made = batches(kind)

    def length(row):
        return made.counted.chats.tokens([made._example(row)], [SIZES[row]]).total

    every = range(len(SIZES))
    ranked = made.counted.largest(every, len(SIZES))
    assert list(map(length, ranked)) == sorted(map(length, every))
    assert made.counted.largest(every, 2) == ranked[2:]


def test_examples_are_left_out_where_the_model_reads_no_more():
    roomy = batches(texts_per_image=1)
    long = max(roomy.length(row) for rows in roomy.largest(2) for row in rows)
    assert [batches(longest=longest, texts_per_image=1).fitting(2) for longest in (long, long - 1)] == [1, 0]
