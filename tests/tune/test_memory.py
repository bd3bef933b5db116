"""What a step keeps is measured, what does not fit is refused, and a step in parts is the same step."""

import dataclasses

import pytest
import torch
from torch import nn

from micrographia.adapt.lean_loss import without_logits
from micrographia.adapt.methods import adapted
from micrographia.errors import PlanError
from micrographia.recipe import LowRankSection, TuneSection
from micrographia.tune import memory
from micrographia.tune.backward import kept_bytes
from micrographia.tune.memory import (
    PARTS,
    Footprint,
    Memory,
    Step,
    footprint,
    light_copy,
    usable,
    words_step,
)
from micrographia.tune.muon import Muon, moment_bytes
from micrographia.tune.precision import Precision
from tests.students.languages import language_model

SINGLE = Precision(False, "tests")
STEP = Step("learning words", "tune.batch", images=8, rows=16, longest=12)


def rows(count, length=12):
    ids = torch.randint(4, 64, (count, length), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "labels": ids}


def learner():
    model = language_model("llama").requires_grad_(False)
    without_logits(model)
    return adapted(model, LowRankSection(rank=4, lowest_rank=2), 0)


def test_what_is_foretold_of_two_rows_is_what_many_keep():
    model = learner()
    told = footprint(STEP, model, rows, SINGLE)
    assert told.kept == pytest.approx(kept_bytes(model, rows(16)), rel=0.01)
    assert 0 < told.kept_always < told.kept_a_row


def test_with_checkpointing_less_is_kept_of_each_row():
    model = learner()
    again = dataclasses.replace(STEP, checkpointing=True)
    direct, checkpointed = (footprint(step, model, rows, SINGLE) for step in (STEP, again))
    assert checkpointed.kept_a_row < 0.7 * direct.kept_a_row  # of two layers, and what is beside them
    assert checkpointed.standing == direct.standing


def test_weights_are_counted_by_kind():
    model = learner()
    told = footprint(STEP, model, rows, SINGLE)
    every = [*model.parameters(), *model.buffers()]
    assert told.eight_bit == sum(t.numel() for t in every if t.dtype == torch.int8) > 10_000
    assert told.trained == sum(p.nbytes for p in model.parameters() if p.requires_grad) > 0
    assert told.eight_bit + told.frozen + told.trained == sum(t.nbytes for t in every)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("muon", Muon),
        ("adamw", lambda model: torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])),
    ],
)
def test_moments_are_those_that_the_optimizer_makes(name, made):
    model = nn.Sequential(nn.Embedding(50, 32), nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, 4))
    model[0].requires_grad_(False)
    optimizer = made(model)
    model(torch.arange(5)).sum().backward()
    optimizer.step()
    state = [t for one in optimizer.state.values() for t in one.values() if torch.is_tensor(t) and t.ndim]
    assert moment_bytes(model, name) == sum(t.nbytes for t in state)


def test_measuring_leaves_random_numbers_and_the_model_as_they_were():
    model = language_model("llama").requires_grad_(False)
    model.lm_head.weight.requires_grad_()
    before = {name: p.clone() for name, p in model.named_parameters()}
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    copy = adapted(light_copy(model), LowRankSection(dropout=0.5), 0)
    kept_bytes(copy, rows(1))
    assert torch.equal(torch.rand(3), expected)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {"lm_head.weight"}
    assert before.keys() == dict(model.named_parameters()).keys() and not model.training
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


STAGE = Footprint(STEP, eight_bit=100, frozen=50, trained=10, moments=30, kept_always=0, kept_a_row=25)
"""200 bytes stand; 16 rows take 400 more."""


@pytest.mark.parametrize("there", [600, None])
def test_what_fits_is_not_cut(there):
    found = Memory([STAGE], there, accumulates=True)
    found.require()
    assert found.room is None


def test_what_does_not_fit_is_refused_with_what_would():
    with pytest.raises(PlanError, match=r"learning words at most .* set tune.batch to 7, from 8") as refused:
        Memory([STAGE], 599, accumulates=False).require()
    assert "gradients" in str(refused.value) and "tune.too_large to accumulate" in str(refused.value)
    assert STAGE.rows_within(599) == 15
    with pytest.raises(PlanError, match="smaller model or a larger machine"):
        Memory([STAGE], 224, accumulates=True).require()


def test_where_that_is_asked_for_it_is_cut_into_what_fits():
    found = Memory([STAGE], 599, accumulates=True)
    found.require()
    assert found.room == 15 * 12
    assert "parts of at most 180 tokens" in found.lines()[0]


def test_a_training_that_goes_on_keeps_the_parts_it_began_with_while_they_fit(tmp_path):
    def room(there):
        return Memory([STAGE], there, accumulates=True).room_once(tmp_path / "room")

    assert room(520) == 12 * 12  # 12 rows fit, of 12 tokens
    assert room(1000) == 12 * 12
    assert room(480) == 12 * 12  # 13 of 533 bytes, without the tenth that is spared
    assert room(400) == 8 * 12
    assert room(520) == 8 * 12


def test_a_step_whose_images_are_compared_is_never_cut():
    whole = dataclasses.replace(STAGE, step=dataclasses.replace(STEP, longest=None))
    with pytest.raises(PlanError, match=r"set tune.batch to 7, from 8; its steps cannot be cut"):
        Memory([whole], 599, accumulates=True).require()


def named(stage, there, accumulates=False):
    with pytest.raises(PlanError) as refused:
        Memory([stage], there, accumulates).require()
    return refused.value.remedy


def with_fields(**fields):
    recipe = TuneSection(family="hub", start_from="model", batch=8, **fields)
    step, _ = words_step(recipe, [["ab"], ["abc", "a"]], len, SHORTER, FEWER)
    return dataclasses.replace(STAGE, step=step)


SHORTER, FEWER = ("demonstrations", "max_pixels", "longest"), ("texts_per_image",)


def test_the_largest_step_has_the_most_rows_and_the_longest():
    recipe = TuneSection(batch=8)
    step, longest = words_step(recipe, [["ab"], ["abc", "a"]], len, (), ())
    assert (longest, step.longest, step.rows, step.images) == ("abc", 3, 2 * 8 // PARTS, 8)
    assert step.room == 2 * 8 // PARTS * 3


def test_what_makes_rows_fewer_or_shorter_is_named_with_what_it_is():
    told = named(with_fields(texts_per_image=3, demonstrations=2, longest=900), 250)
    for way in (
        *("set tune.batch to 4, from 8", "lower tune.texts_per_image from 3"),
        *("lower tune.demonstrations from 2", "set tune.max_pixels", "lower tune.longest from 900"),
    ):
        assert way in told
    told = named(with_fields(texts_per_image=1, demonstrations=0), 250)
    assert "texts_per_image" not in told and "demonstrations" not in told
    assert "set tune.gradient_checkpointing to true" in told
    assert "checkpointing" not in named(with_fields(gradient_checkpointing=True), 250)


def test_where_not_one_row_fits_only_what_makes_it_shorter_is_named():
    told = named(with_fields(texts_per_image=3, max_pixels=5000), 224, accumulates=True)
    assert told == (
        "set tune.gradient_checkpointing to true, or lower tune.max_pixels from 5000, or set tune.longest, "
        "or choose a smaller model or a larger machine"
    )
    assert named(with_fields(), 199) == "choose a smaller model or a larger machine"


def test_several_processes_are_not_told_to_cut_their_steps(monkeypatch):
    monkeypatch.setattr(memory, "count", lambda: 2)
    assert with_fields().step.room is None
    assert "start more processes" in named(with_fields(), 250)


def test_what_there_is_holds_the_model_and_is_less_than_the_machine_has(monkeypatch):
    model = nn.Linear(1000, 1000)
    monkeypatch.setattr(memory, "_available", lambda: 10_000_000)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert usable(model) == int((10_000_000 + 4_004_000) * 0.9)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")  # the whole stays, beside the parts
    assert usable(model) == int(10_000_000 * 0.9)
    monkeypatch.undo()
    assert 0 < memory._available() < 2**50
