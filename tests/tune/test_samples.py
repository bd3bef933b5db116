"""Rows of a batch: whole or left out and listed, never cut, and the same loss in parts as in one."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import TrainerCallback

from micrographia.adapt.methods import adapted
from micrographia.adapt.ranks import DrawRanks
from micrographia.recipe import LowRankSection, TuneSection
from micrographia.students.losses import IGNORED
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.vision import VisionEncoder
from micrographia.tune.collate import Text
from micrographia.tune.fit import Stage, fit
from micrographia.tune.order import Draw, Order, Plain
from micrographia.tune.plan import without_too_long
from micrographia.tune.precision import Precision
from micrographia.tune.samples import Demonstrations, Sample, SightedBatches, batch_of
from tests.students.languages import IMAGE_ID, language_model
from tests.students.test_llava import llava, tower
from tests.students.tiny import tiny_config
from tests.tune.small import Counting

BEGIN, ENCODE, END = 1, 60, 2


class Places:
    """Of a processor what batches need."""

    def __init__(self, places):
        self.opening = [BEGIN]
        self.place = [IMAGE_ID] * places

    def text(self, task, question, answer):
        asked = [*self.opening, *self.place, *range(10, 10 + question), ENCODE]
        return Text(task, asked, ([*range(30, 30 + answer), END],))

    def turn(self, length):
        return [*self.place, *range(10, 10 + length), ENCODE, 50, END]


LENGTHS = st.lists(st.tuples(st.integers(0, 18), st.integers(0, 18)), max_size=5)
IMAGES = st.lists(
    st.fixed_dictionaries({"category": LENGTHS, "caption": LENGTHS, "vqa": LENGTHS}), min_size=1, max_size=4
)


def ids_of(text):
    return text.question + text.answers[0]


def texts_in(sample, head):
    """The ids of each text of a row, as it would stand by itself after ``head``."""
    return [head + question + answer for question, answer in sample.texts]


@given(
    images=IMAGES,
    places=st.sampled_from([1, 7]),
    together=st.booleans(),
    longest=st.integers(4, 60),
    turns=st.lists(st.integers(0, 12), max_size=3),
    seed=st.integers(0, 99),
)
def test_a_sample_is_whole_in_a_batch_or_left_out_and_listed(images, places, together, longest, turns, seed):
    like = Places(places)
    every = [{task: [like.text(task, *n) for n in some] for task, some in image.items()} for image in images]
    names = [f"{row}.png" for row in range(len(every))]
    texts, left_out = without_too_long(every, names, longest, places)

    kept = [text for image in texts for some in image.values() for text in some]
    lost = [
        f"{name}: {text.length} tokens, {places} of images and {text.length - places} of texts; "
        f"{longest} are read"
        for name, image in zip(names, every, strict=True)
        for some in image.values()
        for text in some
        if text not in kept
    ]
    assert left_out == lost
    assert len(kept) + len(lost) == sum(len(some) for image in every for some in image.values())

    head = like.opening + like.place
    shown = Demonstrations(
        {row: range(len(turns)) for row in range(len(every))}, dict(enumerate(map(like.turn, turns)))
    )
    recipe = TuneSection(texts_per_image=3)
    batches = SightedBatches(None, texts, recipe, like, together, shown, longest)
    for row, own in enumerate(texts):
        samples = batches.samples(Draw(row, seed))
        mine = {tuple(ids_of(text)) for some in own.values() for text in some}
        told = [tuple(ids) for sample in samples for ids in texts_in(sample, head)]
        assert set(told) <= mine
        drawn = [len(own[task]) > 0 for task in ("category", "caption")]
        alone = [sample for sample in samples if len(sample.images) == 1]
        assert sum(len(sample.texts) for sample in alone) == sum(drawn) + min(
            max(3 - sum(drawn), 0), len(own["vqa"])
        )
        for sample in samples:
            assert sample.length <= longest
            assert sample.opening.count(IMAGE_ID) == places * len(sample.images)
            assert sample.images[-1][0] == row
            others = [other for other, _ in sample.images[:-1]]
            assert others == list(range(len(turns)))[len(turns) - len(others) :]  # the likest are last
            stood = [i for other in others for i in shown.turns[other]]
            assert sample.opening == like.opening + stood + like.place


def test_demonstrations_are_left_out_least_like_first():
    like = Places(1)
    text = like.text("category", 2, 1)
    shown = Demonstrations({0: [7, 8, 9]}, {row: like.turn(3) for row in (7, 8, 9)})

    def others(longest):
        batches = SightedBatches(None, [{"category": [text]}], TuneSection(), like, False, shown, longest)
        return [[row for row, _ in sample.images[:-1]] for rows in batches.largest(0) for sample in rows]

    turn = len(like.turn(3))
    assert others(None) == others(text.length + 3 * turn) == [[], [7, 8, 9]]
    assert others(text.length + 3 * turn - 1) == [[], [8, 9]]
    assert others(text.length + turn) == [[], [9]]
    assert others(text.length + turn - 1) == [[]]


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_largest_rows_of_an_image_are_at_least_as_long_as_any_that_are_drawn(count, together):
    batches = sighted(together, count=count)
    for row in range(len(batches.texts)):
        largest = batches.largest(row)
        drawn = [batches.samples(Draw(row, seed)) for seed in range(40)]
        assert max(map(len, largest)) == max(map(len, drawn))
        longest, other = (max(s.length for one in rows for s in one) for rows in (largest, drawn))
        assert longest >= other


def sighted(together, room=None, sight=None, count=4):
    """Eight images with texts of all lengths, half of them with a demonstration."""
    like = Places(1)
    texts = [
        {
            "category": [like.text("category", 2, 1)],
            "caption": [like.text("caption", 1, 5 + 3 * (row % 4))],
            "vqa": [like.text("vqa", 4 + row, 2), like.text("vqa", 3, 7)],
        }
        for row in range(8)
    ]
    shown = Demonstrations({row: [(row + 1) % 8] for row in range(8)}, dict.fromkeys(range(8), like.turn(3)))
    recipe = TuneSection(texts_per_image=count)
    return SightedBatches(sight, texts, recipe, like, together, shown, room=room)


SEEN = torch.randn(8, 17, 32, generator=torch.Generator().manual_seed(0))


def look(rows, views):
    return {"image_tokens": SEEN[rows]}


@pytest.mark.parametrize("together", [False, True])
def test_parts_hold_every_row_once_like_lengths_together_and_within_the_room(together):
    draws = [Draw(row, 11 * row) for row in range(8)]
    whole, cut = (sighted(together, room, look)(draws) for room in (None, 100))
    learned = [int((batch["labels"] != IGNORED).sum()) for batch in (whole, cut, *cut["parts"])]
    assert learned[0] == learned[1] == sum(learned[2:]) > 0
    shapes = [part["input_ids"].shape for part in cut["parts"]]
    assert len(shapes) > 2 and [length for _, length in shapes] == sorted(length for _, length in shapes)
    assert all(rows * length <= 100 or rows == 1 for rows, length in shapes)

    def lines(batch):
        return sorted(tuple(i for i in row if i) for row in batch["input_ids"].tolist())

    assert sorted(row for part in cut["parts"] for row in lines(part)) == lines(whole)
    places = [int((part["input_ids"] == IMAGE_ID).sum()) for part in cut["parts"]]
    assert places == [len(part["image_tokens"]) for part in cut["parts"]]


class Ranks(TrainerCallback):
    """Remembers the rank at the beginning and the end of every optimizer step."""

    def __init__(self):
        self.seen = []

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        self.seen.append(rank(model))

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.seen.append(rank(model))


def rank(model):
    return next(iter(m.ranks["default"] for m in model.modules() if hasattr(m, "ranks")))


def learn(folder, room, stop=None):
    torch.manual_seed(0)
    eye = VisionEncoder(tiny_config().vision_config)
    model = MAEMIForConditionalGeneration.of(
        language_model("llama"),
        eye,
        image_token_id=IMAGE_ID,
        cross_attention_every=1,
        cross_attention_heads=2,
        cross_attention_key_size=8,
        feed_forward_factor=2,
    )
    learner = adapted(model, LowRankSection(rank=4, lowest_rank=1, dropout=0), seed=0)
    ranks = Ranks()
    curve = fit(
        *(Stage("learning words", 4, 0.01), learner, Order(range(6), 8, 3), Plain([6, 7])),
        *(sighted(False, room, look), folder, Precision(False, "tests"), Counting()),
        [DrawRanks(), ranks, *([stop] if stop else [])],
    )
    return curve, ranks.seen


def test_a_run_in_parts_has_the_losses_and_ranks_of_a_whole_one(tmp_path):
    whole, ranks = learn(tmp_path / "whole", None)
    cut, same = learn(tmp_path / "cut", 40)
    assert ranks == same and len(set(ranks)) > 1
    assert ranks[::2] == ranks[1::2]  # one rank for all parts of a step
    assert len(whole) == len(cut) > 8
    for entry, other in zip(whole, cut, strict=True):
        assert entry == pytest.approx(other, rel=1e-5)
    assert whole[-1]["eval_loss"] < whole[1]["eval_loss"]


TOLD = [([10, 11, 12], [20, 21, END]), ([13, 14], [22, END]), ([15, 16, 17, 18], [23, 24, 25, END])]


def sight(rows, views):
    shades = torch.linspace(-1, 1, 3 * 3 * 64 * 64).view(3, 3, 64, 64)
    return {"pixel_values": shades[list(rows)]}


@torch.no_grad()
def loss_of(model, samples):
    return model(**batch_of(samples, sight)).loss


def test_texts_that_share_a_row_are_learned_as_if_each_had_its_own():
    model = llava("clip")
    opening = [BEGIN] + [IMAGE_ID] * 16
    demonstrated = Sample(((1, 0), (2, 0)), [*opening, 40, END] + [IMAGE_ID] * 16, TOLD[:1])
    joint = [Sample(((0, 0),), opening, TOLD), demonstrated]
    apart = [*(Sample(((0, 0),), opening, [text]) for text in TOLD), demonstrated]
    torch.testing.assert_close(loss_of(model, joint), loss_of(model, apart), atol=1e-6, rtol=0)


@pytest.mark.parametrize("joined", ["llava", "maemi"])
def test_rows_of_no_one_and_several_images_mix_in_one_batch(joined):
    if joined == "llava":
        model, place = llava("clip"), [IMAGE_ID] * 16
    else:
        model = MAEMIForConditionalGeneration.of(
            language_model(), tower("clip"), image_token_id=IMAGE_ID
        ).eval()
        place = [IMAGE_ID]
        for name, parameter in model.named_parameters():
            if "gate" in name and parameter.numel() == 1:
                parameter.data.fill_(1.0)
    rows = [
        Sample((), [BEGIN], TOLD[:1]),
        Sample(((0, 0),), [BEGIN, *place], TOLD[1:2]),
        Sample(((1, 0), (2, 0)), [BEGIN, *place, 40, END, *place], TOLD[2:]),
    ]
    answers = torch.tensor([len(answer) for row in rows for _, answer in row.texts])
    apart = torch.stack([loss_of(model, [row]) for row in rows])
    mixed = loss_of(model, rows)
    torch.testing.assert_close(mixed, (apart * answers).sum() / answers.sum(), atol=1e-5, rtol=0)
    assert apart.unique().numel() == 3
