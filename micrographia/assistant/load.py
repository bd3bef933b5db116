"""From a student's folder to model, processor, card and identity; the folder is whole, or it is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    LlavaConfig,
)
from transformers.utils import logging

from micrographia.adapt.deploy import MERGED
from micrographia.assistant.voice import Processor, Student
from micrographia.errors import StudentError
from micrographia.students.chat import BUDGET_FILE, ChatProcessor
from micrographia.students.llava import SightedLlava
from micrographia.tune.card import CARD, Card, read_card
from micrographia.workspace import Workspace

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
"""In one file, or in several that an index names."""
FILES = (
    *("config.json", "generation_config.json"),
    *("processor_config.json", "tokenizer.json", "tokenizer_config.json"),
)
"""What lies in a whole folder beside card and weights."""
TEMPLATES = ("chat_template.jinja", "chat_template.json")
"""Of a chat; it may stand in the processor's configuration instead."""
READ = (".json", ".jinja", ".safetensors", ".model", ".txt")
"""Endings of files that transformers reads."""

ANSWER_VERSION = "1"
"""Counts up when the same student answers otherwise."""

TUNE_AGAIN = "move the folder away and run `micrographia tune` again"


def find(workspace: Workspace, name: str | None = None) -> Path:
    """The folder of the student ``name``, or of the recipe's; one that was exported is named by its folder.

    Raises StudentError naming those there are.
    """
    recipe = workspace.student_folder()
    students = {card.parent.name: card.parent for card in recipe.parent.glob(f"*/{CARD}")}
    wanted = recipe.name if name is None else name
    if wanted in students:
        return students[wanted]
    if name is not None and (Path(name) / CARD).is_file():
        return Path(name)
    there = ", ".join(sorted(students))
    remedy = f"there are {there}; choose with --student" if there else "`micrographia tune` makes one"
    if name and Path(name).is_dir():
        beside = [
            folder
            for folder in (Path(name) / MERGED, Path(name).parent / MERGED)
            if (folder / CARD).is_file()
        ]
        raise StudentError(
            f"{name} is no student's folder: it has no {CARD}",
            f"the student that was exported is in {beside[0]}" if beside else remedy,
        )
    raise StudentError(f"there is no student {wanted!r} in {recipe.parent}", remedy)


class Loaded(NamedTuple):
    """A student in memory."""

    model: Any
    processor: Processor | ChatProcessor
    card: Card
    identity: str


def load(folder: Path) -> Loaded:
    """The student in ``folder``, by the Auto classes and without the network. Raises StudentError."""
    card = read_card(folder)
    if card is None:
        raise StudentError(f"there is no student in {folder}", "`micrographia tune` makes one")
    lacking = _lacking(folder, card.family)
    if lacking:
        raise StudentError(f"the student in {folder} lacks {', '.join(lacking)}", TUNE_AGAIN)
    model, processor = _from_pretrained(folder, hub=card.family == "hub")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Loaded(model.to(device).eval(), processor, card, _identity(folder, card))


def _from_pretrained(folder: Path, hub: bool) -> tuple[Any, Processor | ChatProcessor]:
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        ours = isinstance(config, LlavaConfig) and not hub
        kind = SightedLlava if ours else AutoModelForImageTextToText
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        # The model's own reading of this file falls back to defaults, and says nothing, where it is damaged.
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
        load_processor = ChatProcessor.from_pretrained if hub else AutoProcessor.from_pretrained
        processor = load_processor(folder)
    except (OSError, ValueError, TypeError, LookupError, RuntimeError, SafetensorError) as error:
        cause = " ".join(str(error).split())
        raise StudentError(f"the student in {folder} cannot be loaded ({cause})", TUNE_AGAIN) from error
    if not (hub or isinstance(model, Student)):
        known = " and ".join(
            kind.__name__.removesuffix("ForConditionalGeneration") for kind in get_args(Student)
        )
        raise StudentError(f"the student in {folder} is a {type(model).__name__}", f"{known} are known")
    # from_pretrained only warns of these, and goes on with fresh random numbers.
    if report["missing_keys"] or report["mismatched_keys"]:
        raise StudentError(f"the weights in {folder} do not fit its config.json", TUNE_AGAIN)
    return model, processor


def _lacking(folder: Path, family: str) -> list[str]:
    """Files that a student of this family needs, and that are not there."""
    needed = [*FILES, *_weights(folder), *([BUDGET_FILE] if family == "hub" else [])]
    lacking = [name for name in needed if not (folder / name).is_file()]
    if family == "hub" and not lacking and not _has_template(folder):
        lacking.append(TEMPLATES[0])
    return lacking


def _weights(folder: Path) -> list[str]:
    """One file, or an index and those that it names."""
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [WEIGHTS]
    return [INDEX, *sorted({*_json(folder / INDEX).get("weight_map", {}).values()})]


def _has_template(folder: Path) -> bool:
    in_a_file = any((folder / name).is_file() for name in TEMPLATES)
    return in_a_file or bool(_json(folder / "processor_config.json").get("chat_template"))


def _json(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudentError(f"{file} cannot be read ({error})", TUNE_AGAIN) from error
    return content


def _deciding(folder: Path, family: str) -> list[str]:
    """Names of the files that decide an answer: of a model of the hub, whose processor may have any, all."""
    if family != "hub":
        return [*FILES, *_weights(folder)]
    there = [file for file in folder.iterdir() if file.is_file() and file.suffix in READ]
    return sorted(file.name for file in there if file.name != CARD)


def _identity(folder: Path, card: Card) -> str:
    """Of all that decides what it answers, and of what it was made from: no other student has it."""
    digests = [ANSWER_VERSION, card.fingerprint]
    for name in _deciding(folder, card.family):
        with (folder / name).open("rb") as file:
            digests.append(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
