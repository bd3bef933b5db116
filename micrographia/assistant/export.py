"""A tuned student leaves its workspace: as an adapter of any rank that it was tuned for, and whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from micrographia.adapt.deploy import MERGED, Export, Probe
from micrographia.adapt.deploy import export as export_model
from micrographia.adapt.kept import highest_rank, kept_config, require_rank, restored
from micrographia.adapt.methods import WITHOUT_ADAPTER
from micrographia.assistant.load import TUNE_AGAIN, Loaded, find, load
from micrographia.assistant.voice import Image
from micrographia.engine import SILENT, Progress
from micrographia.errors import RecipeError, StudentError, WorkspaceError
from micrographia.micrographs.field import open_field
from micrographia.students.chat import ChatProcessor
from micrographia.students.chat_template import Exchange
from micrographia.students.prompts import IMAGE
from micrographia.tune.card import CARD, Card, read_card
from micrographia.tune.run import ADAPTER
from micrographia.tune.train import DEMONSTRATIONS
from micrographia.workspace import Workspace

PROBES = 12
"""Questions that all forms must answer alike."""


def export(
    workspace: Workspace,
    to: Path,
    rank: int | None = None,
    student: str | None = None,
    progress: Progress = SILENT,
) -> Export:
    """Write a student at ``rank``, its highest by default, to the folder ``to``; see ``adapt.deploy``.

    The probes are questions that it was taught, about validation images. ``merged/`` is a student like the
    one exported. Raises RecipeError for a rank that it does not have or a folder that is in use; StudentError
    where there is no such student, it has no adapter, or the files answer otherwise than it does;
    WorkspaceError where there is no image to ask about. Then nothing is left in ``to``.
    """
    source, to = find(workspace, student), to.resolve()
    config = kept_config(source / ADAPTER)
    if config is None:
        raise _no_adapter(source)
    rank = highest_rank(config) if rank is None else rank
    require_rank(config, rank)
    _require_free(to)
    images = _images(workspace)
    loaded = load(source)
    model = restored(loaded.model, source / ADAPTER)
    made = export_model(model, to, rank, probes(loaded, images), loaded.processor, progress)
    for name in (DEMONSTRATIONS, CARD):
        if (source / name).is_file():
            shutil.copyfile(source / name, to / MERGED / name)
    return made


def probes(loaded: Loaded, images: Sequence[Image]) -> list[Probe]:
    """What the student takes of its questions, each about one of the images in turn."""
    questions = _questions(loaded.card)
    return [_asked(loaded, images[n % len(images)], questions[n % len(questions)]) for n in range(PROBES)]


def _questions(card: Card) -> list[str]:
    first = [card.caption_question, card.category_question]
    return [question for question in first if question] + [phrasings[0] for phrasings in card.questions]


def _asked(loaded: Loaded, image: Image, question: str) -> Probe:
    processor = loaded.processor
    if isinstance(processor, ChatProcessor):
        return dict(processor.to_ask([[Exchange([IMAGE, question])]], [[image]]))
    return dict(processor(images=[image], text=[question]))


def _images(workspace: Workspace) -> list[Image]:
    """Of the validation part, or of the training part where that is empty, in the order of their ids."""
    catalog = workspace.catalog
    chosen = catalog.micrographs("validation") or catalog.micrographs("train")
    if not chosen:
        raise WorkspaceError(
            "the workspace has no training image to ask the exported student about",
            "`micrographia ingest` takes images in",
        )
    return [open_field(workspace.objects, micrograph) for micrograph in chosen[:PROBES]]


def _no_adapter(source: Path) -> StudentError:
    card = read_card(source)
    family = card.family if card else ""
    recipe = json.loads(card.recipe) if card else {}
    if family == "mvaema":
        return StudentError(
            f"the student in {source} is an MVaEMa, which is trained whole and has no adapter",
            "its folder is all of it: copy that; or tune maemi or llava",
        )
    method = recipe.get("tune", {}).get("low_rank", {}).get("method")
    if method in WITHOUT_ADAPTER:
        return StudentError(
            f"the student in {source} was tuned with tune.low_rank.method {method}, and has no adapter",
            "its folder is all of it: copy that; or name another method in the recipe and tune again",
        )
    return StudentError(f"the student in {source} has no adapter in its folder {ADAPTER}", TUNE_AGAIN)


def _require_free(to: Path) -> None:
    if to.is_file() or (to.is_dir() and any(to.iterdir())):
        raise RecipeError(f"{to} is there already", "name a folder that is new or empty")
