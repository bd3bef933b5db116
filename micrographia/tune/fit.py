"""One stage of training on ``transformers.Trainer``: resumed after a kill, its best checkpoint kept."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging

from micrographia.engine import Progress
from micrographia.errors import PlanError
from micrographia.recipe import TuneSection
from micrographia.students.losses import IGNORED
from micrographia.tune.checkpoint import read_learning, read_trained, write_learning, write_trained
from micrographia.tune.memory import light_copy
from micrographia.tune.muon import Muon, Optimizer
from micrographia.tune.order import Draw, Order, Plain
from micrographia.tune.precision import Precision
from micrographia.tune.processes import (
    are_sharding,
    count,
    first_alone,
    mean_of_all,
    my_share,
    shard,
    stand_alone,
    wait,
)

Collate = Callable[[Sequence[Draw]], Mapping[str, Any]]
Curve = list[dict[str, float]]
"""What was logged once a round, in order: for training, then for validation."""

PARTS = ("itc", "itm", "lm")
"""Losses that a student may report beside their sum."""

LOGGED = ("step", "loss", *PARTS, "eval_loss", "learning_rate")
"""What is kept of the log; how long it took is not, since that tells nothing of the student."""


OTHERS_RATE = 0.3
"""Learning rate of all that is no matrix, over that of the matrices."""

WARM_UP = 0.1
"""Share of the steps during which the rate rises."""


@dataclass(frozen=True)
class Stage:
    """How one stage is trained."""

    name: str
    batch: int
    """Images a step, of all processes together."""
    learning_rate: float
    """Highest rate of the matrices; it rises for a tenth of the steps, then falls along a cosine."""
    optimizer: Optimizer = "muon"
    patience: int | None = None
    """Evaluations without progress after which the rate is halved; three times as many end the stage."""
    shared: bool = True
    """Whether several processes share the images of a step; or each takes all of them, and they end alike."""
    checkpointing: bool = False
    """Whether each layer keeps its input alone, and runs once more for its backward pass."""


def words_stage(recipe: TuneSection) -> Stage:
    """The stage in which a student learns what is said of images."""
    return Stage(
        *("learning words", recipe.batch, recipe.rate, recipe.optimizer, recipe.patience),
        checkpointing=recipe.gradient_checkpointing,
    )


def fit(
    stage: Stage,
    model: PreTrainedModel,
    training: Order,
    validation: Plain,
    collate: Collate,
    folder: Path,
    precision: Precision,
    progress: Progress,
    callbacks: Sequence[TrainerCallback] = (),
) -> Curve:
    """Train ``model`` in place and return the learning curve; in the end it has its best weights.

    Checkpoints lie in ``folder``; a call that finds some goes on from the newest whole one, with the same
    images in the same views as a run that was never stopped. Evaluates and saves once a round. Raises
    PlanError where the validation loss was never a number.
    """
    with first_alone():
        newest = newest_checkpoint(folder)
    if newest is not None and (state := _state(newest)) and _is_over(state):
        _require_a_best(state, stage)
        best = folder / f"checkpoint-{state.best_global_step or state.global_step}"
        read_trained(model, best)
        return _curve(state)
    logging.disable_progress_bar()  # those of saving would run through ours
    arguments = _arguments(stage, folder, *training.rounds(stage.batch), training.seed, precision)
    # What FSDP has cut up stays so: it gets a copy, on the model's own weights until they are cut.
    learner = light_copy(model) if stage.shared and are_sharding() else model
    if stage.checkpointing:
        learner.activation_checkpointing_enable({"use_reentrant": False})
        learner.disable_input_require_grads()  # or a frozen eye would keep its inputs and run backward too
    trainer = PartsTrainer(
        stage,
        model=learner,
        args=arguments,
        train_dataset=training,
        eval_dataset=validation,
        data_collator=collate,
        callbacks=[_Bar(progress, stage.name), *_stopping(stage), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    with _forward_as_it_was(learner):
        trainer.train(resume_from_checkpoint=newest and str(newest))
    if stage.checkpointing:
        learner.activation_checkpointing_disable()
    _require_a_best(trainer.state, stage)
    if learner is not model:
        read_trained(model, Path(trainer.state.best_model_checkpoint))
    return _curve(trainer.state)


@contextmanager
def _forward_as_it_was(model: nn.Module) -> Iterator[None]:
    """accelerate wraps a model's forward pass in autocast and leaves it so: what is done with the model next
    would be done in bfloat16, but not after a kill. Its own way back, ``unwrap_model``, takes the decorators
    of transformers off as well."""
    names = ("forward", "_original_forward")
    there = {name: vars(model)[name] for name in names if name in vars(model)}
    try:
        yield
    finally:
        for name in names:
            vars(model).pop(name, None)
        vars(model).update(there)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; what a kill left half written is removed."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        try:
            # The Trainer writes its state last.
            json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
            return checkpoint
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
    return None


def _state(checkpoint: Path) -> TrainerState:
    return TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))


def _is_over(state: TrainerState) -> bool:
    """Whether the last step was done, or progress had ended: a Trainer that resumes there would go on."""
    return bool(state.stateful_callbacks["TrainerControl"]["args"]["should_training_stop"])


def _require_a_best(state: TrainerState, stage: Stage) -> None:
    if state.best_metric is None or not math.isfinite(state.best_metric):
        raise PlanError(
            f"{stage.name}: the validation loss was never a number at a rate of {stage.learning_rate:g}",
            "lower the learning_rate of this stage in the recipe",
        )


def _curve(state: TrainerState) -> Curve:
    """What was logged; a loss that was no number is left out."""
    entries = [
        {name: float(value) for name, value in entry.items() if name in LOGGED and math.isfinite(value)}
        for entry in state.log_history
    ]
    return [entry for entry in entries if "loss" in entry or "eval_loss" in entry]


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _arguments(
    stage: Stage, folder: Path, rounds: int, steps: int, seed: int, precision: Precision
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps * rounds,
        per_device_train_batch_size=stage.batch,
        per_device_eval_batch_size=stage.batch,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(WARM_UP * steps * rounds),
        max_grad_norm=1.0,
        bf16=precision.bf16,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        eval_steps=steps,
        logging_steps=steps,
        save_strategy="steps",
        save_steps=steps,
        save_total_limit=2,  # the best and the newest; with 1 the newest is deleted in the end
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # how long there has been no progress
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        remove_unused_columns=False,
        label_names=["labels"],
        seed=seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _stopping(stage: Stage) -> list[TrainerCallback]:
    if not stage.patience:
        return []
    return [Halving(stage.patience), EarlyStoppingCallback(3 * stage.patience)]


class Halving(TrainerCallback):
    """Halves the learning rate whenever so many evaluations have gone by without progress.

    It counts in the log and changes the rates that the schedule multiplies, both of which are in every
    checkpoint: a run that goes on needs no more.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience

    def on_evaluate(
        self, args: TrainingArguments, state: Any, control: Any, lr_scheduler: Any, **kwargs: Any
    ) -> None:
        """Look back over the evaluations."""
        losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        since = len(losses) - 1 - losses.index(min(losses))
        if since and since % self.patience == 0:
            lr_scheduler.base_lrs = [rate / 2 for rate in lr_scheduler.base_lrs]


class PartsTrainer(Trainer):
    """A Trainer that logs, beside the loss, the parts which the model says it is made of.

    Of the model its checkpoints hold what is trained, alone.
    """

    def __init__(self, stage: Stage, **arguments: Any) -> None:
        self.stage = stage
        self._share = 1.0
        super().__init__(**arguments)
        self._parts: dict[str, list[torch.Tensor]] = {}

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Of a step that is cut into ``parts``, one after the other: their gradients add up, and the loss of
        each is over the answer tokens of the whole step, of all processes."""
        total: Any = 0
        for batch, share in self._shares(inputs, self.stage.shared and count() > 1):
            self._share = share
            total = total + super().training_step(model, batch, *args, **kwargs)
        return total

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The model's own loss, its parts kept for the log; in validation that of its answers alone, since
        how well it compares depends on which images come together."""
        if "parts" in inputs:  # in validation
            whole = sum(
                share * self.compute_loss(model, batch, **kwargs) for batch, share in self._shares(inputs)
            )
            return (whole, {}) if return_outputs else whole
        loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
        if model.training:
            loss = loss * self._share
        elif outputs.get("lm") is not None:
            loss = outputs["lm"]
        for part in PARTS:
            value = outputs.get(part)
            if model.training and value is not None:
                self._parts.setdefault(part, []).append(value.detach())
        return (loss, outputs) if return_outputs else loss

    def _shares(self, inputs: dict[str, Any], shared: bool = False) -> list[tuple[dict[str, Any], float]]:
        """The parts of a step, and what the loss of each counts; ``shared``: among processes, over which
        gradients are averaged. Models that are not told how many answer tokens a step has (Qwen3-VL) give
        the mean over each part."""
        parts = inputs.get("parts", [inputs])
        if self.model_accepts_loss_kwargs or (len(parts) == 1 and not shared):
            return [(part, 1.0) for part in parts]
        tokens = [int((part["labels"] != IGNORED).sum()) for part in parts]
        usual = mean_of_all(sum(tokens)) if shared else sum(tokens)
        return [(part, own / usual) for part, own in zip(parts, tokens, strict=True)]

    def create_accelerator_and_postprocess(self) -> None:
        """How processes divide the model; accelerate read what was asked for from the environment."""
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = self.stage.shared and are_sharding()
        if self.is_fsdp_enabled:
            shard(self.accelerator, self.model)
        elif not self.stage.shared:
            stand_alone(self.accelerator)

    def compute_loss_context_manager(self) -> Any:
        """Autocast, which accelerate leaves to FSDP."""
        contexts = super().compute_loss_context_manager()
        contexts.enter_context(self.accelerator.autocast())
        return contexts

    def create_optimizer(self, model: nn.Module | None = None) -> None:
        """The stage's; FSDP wants it to be made here."""
        rate = self.args.learning_rate
        learned = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        made: dict[str, Callable[[], torch.optim.Optimizer]] = {
            "muon": lambda: Muon(self.model, OTHERS_RATE * rate, rate),
            "adamw": lambda: torch.optim.AdamW(learned, rate, weight_decay=0.0),
        }
        self.optimizer = made[self.stage.optimizer]()

    def get_train_dataloader(self) -> DataLoader[Draw]:
        """Batch after batch: the order is in the data set, so that it survives a kill."""
        collate = self.data_collator
        return self._loader(
            self.train_dataset, (lambda d: collate(my_share(d))) if self.stage.shared else collate
        )

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Draw]:
        """All of the validation for every process: its last batch makes no even shares."""
        return self._loader(self.eval_dataset, self.data_collator)

    def _loader(self, draws: Dataset[Draw], collate: Collate) -> DataLoader[Draw]:
        batch, pin = self.args.per_device_train_batch_size, self.args.dataloader_pin_memory
        return DataLoader(draws, batch, collate_fn=collate, pin_memory=pin)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """What is trained, alone."""
        write_trained(self.model, Path(output_dir or self.args.output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        write_learning(self.optimizer, self.lr_scheduler, Path(output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        wait()  # each has its own; the file that says that the checkpoint is whole comes after all of them

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            read_learning(self.optimizer, self.lr_scheduler, Path(checkpoint))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        read_trained(model or self.model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        read_trained(self.model, Path(self.state.best_model_checkpoint))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add each part's mean since the last entry to the entry of the training loss."""
        if "loss" in logs and self._parts:
            logs |= {part: float(torch.stack(values).mean()) for part, values in self._parts.items()}
            self._parts = {}
        super().log(logs, *args, **kwargs)


class _Bar(TrainerCallback):
    """Draws a stage through ``Progress``."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress = progress
        self.name = name
        self._note = ""

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Show how far an earlier run came."""
        self.progress.begin(self.name, state.max_steps, "steps")
        if state.global_step:
            self.progress.advance(state.global_step, f"resumed at step {state.global_step}")

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """One more step."""
        self.progress.advance(1, self._note)

    def on_log(
        self, args: TrainingArguments, state: Any, control: Any, logs: dict[str, float], **kwargs: Any
    ) -> None:
        """Remember the newest loss for the bar."""
        for name, word in (("loss", "loss"), ("eval_loss", "validation")):
            if name in logs:
                self._note = f"{word} {logs[name]:.3f}"

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """The stage is over; its last evaluation came after its last step."""
        self.progress.advance(0, self._note)
        self.progress.end()
