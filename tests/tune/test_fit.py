"""A stage that is stopped and goes on ends like one that was left alone."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from micrographia.errors import PlanError
from micrographia.students.configuration import VisionConfig
from micrographia.students.vision import LabelledVision
from micrographia.tune.checkpoint import TRAINED
from micrographia.tune.fit import Stage, fit, newest_checkpoint
from micrographia.tune.labels import LabelBatches, LabelSets
from micrographia.tune.order import Order, Plain
from micrographia.tune.precision import Precision
from tests.students.tiny import DECODE, EOS, SIDE, tiny_student, words
from tests.tune.launched import Watched, learn
from tests.tune.small import Counting, noise

IMAGES, BATCH, EPOCHS = 12, 4, 4
STEPS = IMAGES // BATCH  # in an epoch
VALUES, CUTS = {"class": ["a", "b"], "contrast": ["high", "low"]}, {"contrast": [0.0]}
SINGLE = Precision(False, "tests")
LABELS = Stage("learning labels", BATCH, 0.02)
WORDS = Stage("learning words", BATCH, 0.02, patience=1)
STANDING = Stage("standing still", BATCH, 1e-30, patience=1)


class Killed(BaseException):
    """Not an Exception, so that nothing in between can handle it."""


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


def eye():
    torch.manual_seed(0)
    sizes = {"image_size": SIDE, "patch_size": 16, "hidden_size": 32, "key_size": 8, "window": 2}
    return LabelledVision(VisionConfig(**sizes, local_layers=1, global_layers=1, labels=VALUES, cuts=CUTS))


def label_batches(pixels, marked):
    """Two sets and an amount, all of which say the same: whether an image is marked."""
    table = np.stack([marked, marked], axis=1).astype(np.int64)
    amounts = 2 * marked[:, None].astype(np.float32) - 1
    return LabelBatches(pixels, LabelSets(VALUES, table, CUTS, amounts))


class WordBatches:
    """Images with a text each, as MVaEMa takes them; ITM draws its negatives at random."""

    pixels = torch.from_numpy(noise(IMAGES + 4).astype(np.float32))
    texts = torch.cat([words(IMAGES + 4, 6, seed=5), torch.full((IMAGES + 4, 1), EOS)], dim=1)

    def __call__(self, draws):
        rows = [draw.image for draw in draws]
        ids = self.texts[rows].clone()
        ids[:, 2] = DECODE
        labels = ids.clone()
        labels[:, :3] = -100
        return {
            **self.see(rows),
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "labels": labels,
            "itc_input_ids": ids[:, 3:-1],
            "itc_attention_mask": torch.ones_like(ids[:, 3:-1]),
        }

    def see(self, rows):
        return {"pixel_values": self.pixels[rows]}


class LockedBatches(WordBatches):
    """The same with features of an eye that is locked, so that only the words could move."""

    def see(self, rows):
        return {"image_tokens": self.pixels[rows, 0, :17, :32], "image_cls": self.pixels[rows, 0, 17, :32]}


def tune(folder, stage, make, collate, kill_at=None, progress=None):
    """A new process would make the model anew; so does this. None where it was killed."""
    model = make()
    callbacks = [] if kill_at is None else [KillAt(kill_at)]
    order, plain = Order(range(IMAGES), EPOCHS, 3), Plain(range(IMAGES, IMAGES + 4))
    try:
        curve = fit(stage, model, order, plain, collate, folder, SINGLE, progress or Counting(), callbacks)
    except Killed:
        return None
    return model.state_dict(), curve


def assert_same(one, other):
    (weights, curve), (other_weights, other_curve) = one, other
    assert weights.keys() == other_weights.keys()
    for name, values in weights.items():
        torch.testing.assert_close(values, other_weights[name], rtol=1e-5, atol=1e-6, msg=name)
    assert [entry["step"] for entry in curve] == [entry["step"] for entry in other_curve]
    for entry, other_entry in zip(curve, other_curve, strict=True):
        assert entry == pytest.approx(other_entry, rel=1e-4)


KINDS = {
    "labels": (LABELS, eye, label_batches(noise(IMAGES + 4), np.arange(IMAGES + 4) // 2 % 2)),
    "words": (WORDS, tiny_student, WordBatches()),
    "no progress": (STANDING, tiny_student, LockedBatches()),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def undisturbed(kind, tmp_path_factory):
    return tune(tmp_path_factory.mktemp("undisturbed"), *kind)


def test_weights_and_loss_have_moved(kind, undisturbed):
    stage, make, _ = kind
    weights, curve = undisturbed
    assert [e["step"] for e in curve if "eval_loss" in e] == [STEPS * (i + 1) for i in range(len(curve) // 2)]
    fresh = make().state_dict()
    moved = max(float((weights[name] - fresh[name]).abs().max()) for name in fresh if "num_" not in name)
    assert moved < 1e-20 if stage is STANDING else moved > 1e-4
    assert all("train_runtime" not in entry for entry in curve)


@pytest.mark.parametrize("kill_at", [STEPS - 1, 2 * STEPS, 3 * STEPS + 2])
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path, kind, undisturbed, kill_at):
    assert tune(tmp_path, *kind, kill_at=kill_at) is None
    progress = Counting()
    assert_same(tune(tmp_path, *kind, progress=progress), undisturbed)
    resumed_at = kill_at // STEPS * STEPS
    assert (f"resumed at step {resumed_at}" in progress.notes) == (resumed_at > 0)


def test_a_run_that_is_killed_again_and_again_gets_there(tmp_path, kind, undisturbed):
    for kill_at in (STEPS + 1, STEPS + 2, 3 * STEPS):
        assert tune(tmp_path, *kind, kill_at=kill_at) is None
    assert_same(tune(tmp_path, *kind), undisturbed)


def test_a_stage_that_is_over_is_not_trained_further(tmp_path, kind, undisturbed):
    tune(tmp_path, *kind)
    progress = Counting()
    again = tune(tmp_path, *kind, progress=progress)
    assert progress.tasks == {}
    assert_same(again, undisturbed)


@pytest.mark.parametrize("epochs", [1, EPOCHS])
def test_the_last_note_is_that_of_the_last_evaluation(tmp_path, epochs):
    _, make, batches = KINDS["labels"]
    stage, progress = Stage("learning labels", IMAGES, 0.02), Counting()
    order, plain = Order(range(IMAGES), epochs, 3), Plain(range(IMAGES, IMAGES + 4))
    curve = fit(stage, make(), order, plain, batches, tmp_path, SINGLE, progress)
    assert progress.tasks == {"learning labels": epochs}
    assert progress.notes[-1] == f"validation {curve[-1]['eval_loss']:.3f}"


def test_the_best_weights_are_kept_not_the_last(tmp_path):
    """Validation contradicts training: the less was learned the better."""
    pixels = noise(IMAGES + 4)
    smooth = np.arange(len(pixels)) % 2 == 0
    pixels[smooth] = np.linspace(-1, 1, SIDE, dtype=np.float16)
    marked = smooth.copy()
    marked[IMAGES:] = ~smooth[IMAGES:]
    weights, curve = tune(tmp_path, LABELS, eye, label_batches(pixels, marked))
    losses = [entry["eval_loss"] for entry in curve if "eval_loss" in entry]
    best = STEPS * (1 + losses.index(min(losses)))
    assert best < STEPS * len(losses)
    kept = load_file(tmp_path / f"checkpoint-{best}" / TRAINED)
    assert all(torch.equal(weights[name], values) for name, values in kept.items())


class Diverging(LabelBatches):
    """From the ``first`` evaluation on, the loss is no number."""

    def __init__(self, batches, first):
        super().__init__(batches.pixels, batches.sets)
        self.first, self.evaluations = first, 0

    def __call__(self, draws):
        batch = super().__call__(draws)
        if draws[0].seed is None:
            self.evaluations += 1
            if self.evaluations >= self.first:
                batch["pixel_values"] = batch["pixel_values"] * torch.nan
        return batch


def test_a_loss_that_was_never_a_number_is_refused_now_and_by_the_next_run(tmp_path):
    _, make, batches = KINDS["labels"]
    for _ in range(2):
        with pytest.raises(
            PlanError, match=r"learning labels: the validation loss was never a number .*0\.02"
        ):
            tune(tmp_path, LABELS, make, Diverging(batches, 1))


def test_the_best_weights_outlive_a_loss_that_is_no_number(tmp_path):
    _, make, batches = KINDS["labels"]
    weights, curve = tune(tmp_path, LABELS, make, Diverging(batches, 3))
    assert [entry["step"] for entry in curve if "eval_loss" in entry] == [STEPS, 2 * STEPS]
    assert all(math.isfinite(value) for entry in curve for value in entry.values())
    assert all(torch.isfinite(values).all() for values in weights.values())


@pytest.mark.parametrize("kill_at", [None, 2 * STEPS + 1])
def test_no_progress_ends_the_stage_early_killed_or_not(tmp_path, kill_at):
    def stand(*callbacks):
        order, plain = Order(range(IMAGES), 10, 3), Plain(range(IMAGES, IMAGES + 4))
        progress = Counting()
        common = (LockedBatches(), tmp_path, SINGLE, progress, callbacks)
        return fit(STANDING, tiny_student(), order, plain, *common), progress

    if kill_at:
        with pytest.raises(Killed):
            stand(KillAt(kill_at))
    curve, _ = stand()
    assert curve[-1]["step"] == 4 * STEPS  # the first evaluation and three without progress
    rates = [entry["learning_rate"] for entry in curve if "loss" in entry]
    steps = 10 * STEPS - 3  # after a warm-up of three
    falling = [(1 + math.cos(math.pi * (STEPS * i - 3) / steps)) / 2 for i in (1, 2, 3, 4)]
    halved = [1, 1, 1 / 2, 1 / 4]
    assert rates == pytest.approx([1e-30 * f * h for f, h in zip(falling, halved, strict=True)], rel=1e-3)
    again, progress = stand()
    assert again == curve and progress.tasks == {}


@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_a_step_in_parts_is_the_same_step_and_leaves_validation_alone(tmp_path, rows_at_once):
    """Of four rows; a model that takes the mean over those of a part. Those of validation are two."""
    whole = learn(tmp_path / "whole", Watched(), "qwen3-vl")
    cut = learn(tmp_path / "cut", Watched(), "qwen3-vl", rows_at_once)
    for entry, other in zip(cut, whole, strict=True):
        assert entry == pytest.approx(other, rel=1e-4)


def test_the_parts_of_the_loss_are_logged_and_sum_to_it(tmp_path):
    _, curve = tune(tmp_path, WORDS, tiny_student, WordBatches())
    for entry in curve:
        if "loss" in entry:
            assert entry["loss"] == pytest.approx(entry["itc"] + entry["itm"] + entry["lm"], rel=1e-3)


def test_validation_is_by_the_answers_alone(tmp_path):
    """How well images and texts compare depends on which come together in a batch."""
    both, answers = (
        tune(tmp_path / name, WORDS, make, WordBatches())
        for name, make in (("both", tiny_student), ("answers", lambda: tiny_student(itc=False, itm=False)))
    )
    first, alone = (next(e["eval_loss"] for e in curve if "eval_loss" in e) for _, curve in (both, answers))
    assert first == pytest.approx(alone, rel=0.1)
    assert next(e["loss"] for e in both[1]) > 1.3 * next(e["loss"] for e in answers[1])


def test_a_half_written_checkpoint_is_removed_and_the_one_before_used(tmp_path, kind, undisturbed):
    tune(tmp_path, *kind, kill_at=2 * STEPS + 1)
    whole = newest_checkpoint(tmp_path)
    assert whole.name == f"checkpoint-{2 * STEPS}"
    torn, half = (tmp_path / f"checkpoint-{step}" for step in (100, 90))
    shutil.copytree(whole, torn)
    (torn / "trainer_state.json").unlink()
    shutil.copytree(whole, half)
    state = (whole / "trainer_state.json").read_text()
    (half / "trainer_state.json").write_text(state[: len(state) // 2])
    assert newest_checkpoint(tmp_path) == whole
    assert not torn.exists() and not half.exists()
    json.loads((whole / "trainer_state.json").read_text())
    assert_same(tune(tmp_path, *kind), undisturbed)


def test_without_checkpoints_there_is_none(tmp_path):
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_after_a_stage_in_bfloat16_the_model_answers_in_single_precision(tmp_path):
    model, draws = tiny_student(), (Order(range(IMAGES), 1, 3), Plain(range(IMAGES, IMAGES + 4)))
    fit(WORDS, model, *draws, WordBatches(), tmp_path, Precision(True, "tests"), Counting())
    fresh = tiny_student()
    fresh.load_state_dict(model.state_dict())
    batch = WordBatches()(list(draws[1]))
    with torch.no_grad():
        assert torch.equal(model.eval()(**batch).loss, fresh.eval()(**batch).loss)
