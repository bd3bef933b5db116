"""Batches of words: loss on answers only, and every answer true of the view that is shown with it."""

import numpy as np
import pytest
import torch

from micrographia.recipe import TuneSection
from micrographia.students.processor import MVaEMaImageProcessor, MVaEMaProcessor
from micrographia.students.tokens import train_tokenizer
from micrographia.students.views import VIEWS
from micrographia.teach.claims import read_claims
from micrographia.teach.generate import current_course
from micrographia.teach.levels import DIRECTIONS, direction_at, turned_angle
from micrographia.tune.collate import Text, TextBatches, choose, texts_by_micrograph
from micrographia.tune.features import PixelSight, laid_down
from micrographia.tune.order import Draw
from micrographia.workspace import open_workspace
from tests.students.tiny import DECODE, EOS
from tests.tune.small import noise

RECIPE = TuneSection(texts_per_image=4)


@pytest.fixture(scope="module")
def conversations(taught):
    with open_workspace(taught) as workspace:
        return list(workspace.catalog.conversations(current_course(workspace)))


@pytest.fixture(scope="module")
def processor(conversations):
    tokenizer = train_tokenizer([text for c in conversations for text in (c.prompt, c.answer)], 1500)
    return MVaEMaProcessor(MVaEMaImageProcessor(64, 1), tokenizer)


@pytest.fixture(scope="module")
def texts(conversations, processor):
    return list(texts_by_micrograph(conversations, processor).values())


def batches(texts, recipe=RECIPE, groups=None):
    return TextBatches(PixelSight(noise(len(texts))), texts, groups or range(len(texts)), recipe)


def rows_of(batch):
    """Question and answer of each row, padding taken off."""
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        length = int(mask.sum())
        assert mask[:length].all() and not mask[length:].any()
        assert not ids[length:].any() and (labels[length:] == -100).all()
        ids, labels = ids[:length].tolist(), labels[:length].tolist()
        cut = ids.index(DECODE) + 1
        yield ids[:cut], ids[cut:], labels


def test_every_conversation_becomes_a_text(conversations, texts, processor):
    assert sum(len(by_task) for image in texts for by_task in image.values()) == len(conversations)
    first = conversations[0]
    (text,) = [
        text
        for text in texts[0][first.task]
        if text.question == processor.question(first.prompt)
        and text.answer(0) == processor.answer(first.answer)
    ]
    assert text.length == len(text.question) + max(len(a) for a in text.answers if a)


def test_loss_falls_on_answers_only(texts):
    batch = batches(texts)([Draw(i, 1000 + i) for i in range(6)])
    count = 0
    for question, answer, labels in rows_of(batch):
        assert labels[: len(question)] == [-100] * len(question)
        assert labels[len(question) :] == answer
        assert answer[-1] == EOS
        count += 1
    assert count == len(batch["image_index"]) == 6 * 4


def test_every_row_belongs_to_its_image(texts):
    draws = [Draw(i, 77 * i) for i in (5, 0, 9)]
    batch = batches(texts)(draws)
    for image, (question, answer, _) in zip(batch["image_index"].tolist(), rows_of(batch), strict=True):
        draw = draws[image]
        own = [text for by_task in texts[draw.image].values() for text in by_task]
        assert any(t.question == question and t.answer(draw.seed % len(VIEWS)) == answer for t in own)


def test_an_image_brings_its_category_its_caption_and_questions(texts):
    batch = batches(texts)([Draw(3, 5)])
    tasks = [
        task
        for question, answer, _ in rows_of(batch)
        for task, by_task in texts[3].items()
        if any(t.question == question and answer in t.answers for t in by_task)
    ]
    assert sorted(tasks) == ["caption", "category", "vqa", "vqa"]


def test_the_image_is_laid_down_as_the_answers_say(texts):
    pixels = noise(len(texts))
    batch = TextBatches(PixelSight(pixels), texts, range(len(texts)), RECIPE)(
        [Draw(2, seed) for seed in range(8)]
    )
    for view, (turns, mirrored) in enumerate(VIEWS):
        image = np.fliplr(pixels[2, 0]) if mirrored else pixels[2, 0]
        assert np.array_equal(batch["pixel_values"][view, 0].numpy(), np.rot90(image, turns))


def test_a_direction_in_an_answer_turns_with_the_view(conversations, processor):
    found = set()
    for conversation in conversations:
        said = [claim.value for claim in conversation.claims if claim.directional]
        (texts,) = texts_by_micrograph([conversation], processor).values()
        (text,) = texts[conversation.task]
        if not said:
            assert len(text.answers) == 1
            continue
        for view, (turns, mirrored) in enumerate(VIEWS):
            words = processor.tokenizer.decode(text.answer(view), skip_special_tokens=True)
            expected = direction_at(turned_angle(45 * DIRECTIONS.index(said[0]), turns, mirrored))
            assert read_claims(words, ["direction"]) == {"direction": expected}
            found.add(expected)
    assert found == set(DIRECTIONS)


def test_validation_is_the_plain_view_and_always_the_same(texts):
    collate = batches(texts)
    one, two = (collate([Draw(i, None) for i in range(4)]) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert torch.equal(one["pixel_values"], laid_down(noise(len(texts)), range(4), [0] * 4))


def test_the_same_draw_gives_the_same_batch_and_others_differ(texts):
    draws = [Draw(i, 31 * i) for i in range(5)]
    one, two = batches(texts)(draws), batches(texts)(draws)
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = batches(texts)([Draw(i, 31 * i + 8) for i in range(5)])
    assert not torch.equal(one["input_ids"], other["input_ids"]) or one.keys() != other.keys()


def test_the_caption_is_what_is_compared_without_its_end(texts, processor):
    batch = batches(texts, groups=[7] * len(texts))([Draw(i, None) for i in range(3)])
    for i, (ids, mask) in enumerate(zip(batch["itc_input_ids"], batch["itc_attention_mask"], strict=True)):
        assert ids[mask.bool()].tolist() == texts[i]["caption"][0].answer(0)[:-1]
        assert EOS not in ids
    assert batch["groups"].tolist() == [7, 7, 7]


def test_nothing_is_compared_where_nothing_asks_for_it(texts):
    recipe = TuneSection(contrastive=False, matching=False)
    assert "itc_input_ids" not in batches(texts, recipe)([Draw(0, None)])


def test_an_answer_that_cannot_be_kept_true_is_left_out_of_that_view():
    fixed = Text("vqa", [10, DECODE], ([11, EOS],))
    turning = Text("vqa", [12, DECODE], ([13, EOS], None, None, None, None, None, None, None))
    batch = batches([{"vqa": [fixed, turning]}] * 2)
    assert sorted(a for _, a, _ in rows_of(batch([Draw(0, 8)]))) == [[11, EOS], [13, EOS]]
    assert [a for _, a, _ in rows_of(batch([Draw(0, 1)]))] == [[11, EOS]]


def told(category=0, caption=0, vqa=0, answers=("yes",)):
    """So many texts of each kind, numbered."""
    counts = {"category": category, "caption": caption, "vqa": vqa}
    return {task: [Text(task, f"{task} {i}", answers) for i in range(n)] for task, n in counts.items()}


@pytest.mark.parametrize(
    ("texts", "seed", "count", "expected"),
    [
        (told(2, 3, 6), 0, 5, ["category 1", "caption 1", "vqa 1", "vqa 5", "vqa 2"]),
        (told(2, 3, 6), 7919, 3, ["category 0", "caption 1", "vqa 3"]),
        (told(2, 3, 6), None, 3, ["category 1", "caption 1", "vqa 3"]),
        (told(vqa=6), 7, 2, ["vqa 4", "vqa 3"]),
    ],
)
def test_where_all_kinds_have_a_turn_a_seed_has_the_texts_that_results_rest_on(texts, seed, count, expected):
    assert [text.question for text in choose(texts, Draw(4, seed), count, 0)] == expected


@pytest.mark.parametrize("count", [1, 2])
def test_where_texts_are_few_every_kind_has_its_turn_and_there_are_no_more(count):
    texts = told(category=1, caption=2, vqa=5)
    kinds = []
    for seed in range(12):
        chosen = choose(texts, Draw(0, seed), count, 0)
        assert chosen == choose(texts, Draw(0, seed), count, 0)
        assert len({text.task for text in chosen}) == len(chosen) == count
        kinds += [text.task for text in chosen]
    assert {kinds.count(task) >= 2 for task in texts} == {True}
    plain = [choose(texts, Draw(image, None), count, 0) for image in range(3)]
    assert plain == [choose(texts, Draw(image, None), count, 0) for image in range(3)]
    assert {text.task for chosen in plain for text in chosen} == set(texts)


def test_a_kind_that_is_not_true_in_a_view_leaves_its_turn_to_another():
    turning = told(vqa=1, answers=("left", None, None, None, None, None, None, None))
    texts = {**told(category=1), "vqa": turning["vqa"]}
    turns = [[choose(texts, Draw(0, seed), 1, view)[0].task for seed in range(8)] for view in (0, 1)]
    assert set(turns[0]) == {"category", "vqa"} and set(turns[1]) == {"category"}
    assert choose(told(), Draw(0, 0), 1, 0) == choose(turning, Draw(0, 0), 0, 1) == []
