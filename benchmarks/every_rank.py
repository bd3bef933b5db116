"""One DyQLoRA-FA run against a run for each rank, on the answers about steel surfaces (NEU-CLS).

    python -m benchmarks.every_rank [--json] [--work FOLDER] [--steps 900]

A small language model learns to speak from the answers about drawn micrographs, then is frozen. Adapters of
rank 4 to 16 learn the answers about NEU's images, whose class stands in the prompt; the ids from 145 on of
every class are kept to test on. Token accuracy: the share of the test answers' tokens that are the likeliest,
each after the true ones before it.

``dynamic_RANK``: one run whose rank is drawn at every step; it has as many steps as the four together that it
stands for. ``frozen_RANK``: a run with A frozen at this rank alone. ``lora_RANK``: plain LoRA of PEFT at this
rank. ``bare``: no adapter. Rate and steps were chosen with the ids 130 to 144 in place of those tested.
``worst_rank_gap``: the greatest |dynamic - frozen|; ``worst_lora_gap``: the greatest lora - dynamic.
``export_max_difference``: of logits, between the run at a rank and the plain LoRA that is exported of it,
loaded by PEFT alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks import command, folds, neu
from benchmarks.pooled import Taught
from micrographia import phantoms
from micrographia.adapt.adapter_files import load_lora
from micrographia.adapt.deploy import dequantised, write_lora
from micrographia.adapt.dyqlora_fa import DyQLoRAFAConfig
from micrographia.cli.progress import Lines
from micrographia.records import Conversation
from micrographia.students.tokens import train_tokenizer
from micrographia.teach.generate import current_course, for_a_student
from micrographia.tune.language import LanguageStage, Passage, learn_language, padded, small_language_model
from micrographia.tune.precision import Precision, choose_once
from micrographia.workspace import open_workspace

RANKS = (4, 8, 12, 16)
ALPHA, RATE, BATCH = 16.0, 1e-2, 32
TEST_FROM = 145
"""Ids of NEU from which on images are tested."""
VOCABULARY, LONGEST = 2000, 256
LANGUAGE = LanguageStage(steps=600)


@dataclass(frozen=True)
class Task:
    """What is learned and what is tested, as token ids."""

    language: list[Passage]
    training: list[Passage]
    test: list[Passage]
    tokenizer: PreTrainedTokenizerFast


def taught(work: Path, questions: str, rows: Sequence[folds.Row]) -> dict[str, list[Conversation]]:
    """Conversations by the name of the image, in a workspace that is made once."""
    recipe = f"teach: {{questions: [{questions}, caption, category]}}"
    if folds.load(work / "taught.json", Taught, folds.fingerprint(recipe, rows)) is None:
        work.mkdir(parents=True, exist_ok=True)
        folds.run_teach(work, recipe, rows)
    with open_workspace(work / "taught") as workspace:
        names = {micrograph.id: micrograph.name for micrograph in workspace.catalog.micrographs()}
        told: dict[str, list[Conversation]] = {}
        for conversation in filter(for_a_student, workspace.catalog.conversations(current_course(workspace))):
            told.setdefault(names[conversation.micrographs[0]], []).append(conversation)
    return told


def drawn_rows(folder: Path, per_class: int) -> list[folds.Row]:
    """Drawn micrographs of ten categories."""
    phantoms.write(folder, per_class, size=(256, 256), progress=Lines(folds.say))
    return [folds.Row(str(file), file.parent.name) for file in sorted(folder.glob("*/*.png"))]


def task(work: Path, per_class: int) -> Task:
    """Both corpora; the class of a NEU image stands before its question."""
    drawn = taught(work / "drawn", "nanomaterials", drawn_rows(work / "drawings", per_class))
    files = folds.spread(neu.images_in(neu.IMAGES), 10 * per_class)
    steel = taught(work / "steel", "surfaces", [folds.Row(str(file), file.parent.name) for file in files])
    classes = {file.name: file.parent.name for file in files}
    tested = {file.name for file in files if neu.number(file) >= TEST_FROM}
    every = [(c.prompt, c.answer) for of_image in drawn.values() for c in of_image]
    asked = {name: [(f"{classes[name]}: {c.prompt}", c.answer) for c in told] for name, told in steel.items()}
    training = [pair for name, pairs in asked.items() if name not in tested for pair in pairs]
    tokenizer = train_tokenizer([text for pair in (*every, *training) for text in pair], VOCABULARY)
    return Task(
        language=[passage(tokenizer, *pair, given=False) for pair in every],
        training=[passage(tokenizer, *pair) for pair in training],
        test=[passage(tokenizer, *pair) for name in sorted(tested) for pair in asked.get(name, ())],
        tokenizer=tokenizer,
    )


def passage(tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str, given: bool = True) -> Passage:
    """Question and answer; the question is not learned where it is ``given``."""
    asked = [*tokenizer(prompt)["input_ids"], tokenizer.bos_token_id]
    told = [*tokenizer(answer)["input_ids"], tokenizer.eos_token_id]
    return Passage((*asked, *told)[:LONGEST], given=len(asked) if given else 0)


def tuned(
    base: nn.Module,
    config: DyQLoRAFAConfig | LoraConfig,
    passages: Sequence[Passage],
    steps: int,
    precision: Precision,
) -> PeftModel:
    """A copy of the language model with adapters that have learned, in evaluation mode."""
    torch.manual_seed(0)
    model = get_peft_model(copy.deepcopy(base), config).train()
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, 10 * step / steps + 0.01) * (0.5 + 0.5 * math.cos(math.pi * step / steps)),
    )
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        if isinstance(config, DyQLoRAFAConfig):
            model.draw_rank(step)
        rows = torch.randint(len(passages), (BATCH,), generator=generator).tolist()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision.bf16):  # as students learn
            loss = model(**padded([passages[row] for row in rows])).loss
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, passages: Sequence[Passage]) -> float:
    """Share of the answers' tokens that are the likeliest."""
    right = total = 0
    for start in range(0, len(passages), BATCH):
        batch = padded(passages[start : start + BATCH])
        labels = batch.pop("labels")[:, 1:]
        found = model(**batch).logits[:, :-1].argmax(2)
        right += int((found == labels).sum())
        total += int((labels >= 0).sum())
    return right / total


@torch.no_grad()
def export_difference(model: PeftModel, rank: int, passages: Sequence[Passage]) -> float:
    """Greatest difference of logits between the run at a rank and its export, loaded by PEFT."""
    batch = padded(passages[:BATCH])
    labels = batch.pop("labels")
    model.set_rank(rank)
    with tempfile.TemporaryDirectory() as folder:
        write_lora(model, Path(folder), rank)
        exported = load_lora(dequantised(model), Path(folder))
    difference = (exported(**batch).logits - model(**batch).logits).abs()
    return float(difference[labels >= 0].max())


def frozen(lowest: int, highest: int) -> DyQLoRAFAConfig:
    """A frozen, ranks from ``lowest`` to ``highest``."""
    return DyQLoRAFAConfig(r_min=lowest, r_max=highest, alpha=ALPHA)


def language_model(work: Path, given: Task, precision: Precision) -> LlamaForCausalLM:
    """Learned from the answers about drawings."""
    torch.manual_seed(0)
    model = small_language_model(given.tokenizer, LONGEST)
    learn_language(model, given.language, LANGUAGE, work / "language", precision, Lines(folds.say))
    return model


def figures(work: Path, steps: int, per_class: int) -> dict[str, float]:
    """Every run; what a run that was killed has found lies in ``work``."""
    found = work / f"figures-{steps}-{per_class}.json"
    made: dict[str, float] = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {}
    given = task(work, per_class)
    precision = choose_once(work / "precision.json")
    base = language_model(work, given, precision)
    made |= {"training_answers": len(given.training), "test_answers": len(given.test)}

    def note(**values: float) -> None:
        made.update(values)
        folds.write(found, json.dumps(made))
        print(", ".join(f"{name}: {value:.5f}" for name, value in values.items()), file=sys.stderr)

    def learned(config: DyQLoRAFAConfig | LoraConfig, times: int = 1) -> PeftModel:
        return tuned(base, config, given.training, times * steps, precision)

    if "export_max_difference" not in made:
        note(
            bare=accuracy(base.eval(), given.test),
            **every_rank_of(learned(frozen(RANKS[0], RANKS[-1]), len(RANKS)), given),
        )
    for rank in RANKS:
        if f"frozen_{rank}" not in made:
            note(**{f"frozen_{rank}": accuracy(learned(frozen(rank, rank)), given.test)})
        if f"lora_{rank}" not in made:
            lora = LoraConfig(r=rank, lora_alpha=ALPHA, lora_dropout=0.05, target_modules="all-linear")
            note(**{f"lora_{rank}": accuracy(learned(lora), given.test)})
    return made | {
        "worst_rank_gap": max(abs(made[f"dynamic_{rank}"] - made[f"frozen_{rank}"]) for rank in RANKS),
        "worst_lora_gap": max(made[f"lora_{rank}"] - made[f"dynamic_{rank}"] for rank in RANKS),
    }


def every_rank_of(model: PeftModel, given: Task) -> dict[str, float]:
    """Accuracy of the one run at each rank, and how far its exports are from it."""
    made, differences = {}, []
    for rank in RANKS:
        model.set_rank(rank)
        made[f"dynamic_{rank}"] = accuracy(model, given.test)
        differences.append(export_difference(model, rank, given.test))
    return made | {"export_max_difference": max(differences)}


def main() -> None:
    """The command line."""
    parser: argparse.ArgumentParser = command.parser(__doc__)
    parser.add_argument("--work", type=Path, help="keep what is made here, and go on from it")
    parser.add_argument("--steps", type=int, default=900, help="of each run for one rank")
    parser.add_argument(
        "--per-class", type=int, default=9, help="drawings of each category; of NEU ten times"
    )
    options = parser.parse_args()
    with folds.work_folder(options.work) as work:
        command.show(figures(work, options.steps, options.per_class), options.json)


if __name__ == "__main__":
    main()
