"""Models that a recipe names by their folders: what lies in them decides what a student becomes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from micrographia.errors import PlanError
from micrographia.workspace import Workspace

SUFFIXES = (".json", ".safetensors", ".jinja", ".model", ".txt")
"""Of the files that ``transformers`` reads."""
DIGESTS = "given.json"
"""In the workspace's cache: digests of files by size and time, since weights take long to read."""


def folders_of(workspace: Workspace) -> list[Path]:
    """That the recipe names, seen from the workspace."""
    return [workspace.folder / name for name in _named(workspace).values()]


def require_given(workspace: Workspace) -> None:
    """Raises PlanError where a folder that the recipe names holds no model: told before any work."""
    for field, name in _named(workspace).items():
        given_folder(workspace, name, field)


def given_folder(workspace: Workspace, name: str, field: str) -> Path:
    """The folder that a field of the recipe names. Raises PlanError where it holds no model."""
    folder = workspace.folder / name  # an absolute name stays as it is
    if not (folder / "config.json").is_file():
        raise PlanError(f"{field} is {name!r}: there is no config.json in {folder}", "name a model's folder")
    return folder


def _named(workspace: Workspace) -> dict[str, str]:
    recipe = workspace.recipe.tune
    named = {
        "tune.vision_encoder": recipe.vision_encoder,
        "tune.language_model.folder": recipe.language_model.folder,
        "tune.start_from": recipe.start_from,
    }
    return {field: name for field, name in named.items() if name is not None}


def digest_of_given(workspace: Workspace) -> str:
    """sha256 over all files of the folders that the recipe names; "" where it names none."""
    files = [file for folder in folders_of(workspace) for file in _files(folder)]
    if not files:
        return ""
    known = workspace.folder / "cache" / DIGESTS
    before: dict[str, list[str]] = json.loads(known.read_text("utf-8")) if known.is_file() else {}
    now = {str(file): _digest(file, before.get(str(file))) for file in files}
    if now != before:
        known.parent.mkdir(exist_ok=True)
        draft = known.with_suffix(f".{os.getpid()}.part")  # several processes come here at once
        draft.write_text(json.dumps(now), "utf-8")
        draft.replace(known)
    told = [f"{file.name} {now[str(file)][1]}" for file in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())


def _digest(file: Path, before: list[str] | None) -> list[str]:
    """What tells the file as it is now from an earlier one, and its sha256."""
    state = file.stat()
    stamp = f"{state.st_size} {state.st_mtime_ns}"
    if before is not None and before[0] == stamp:
        return before
    with file.open("rb") as content:
        return [stamp, hashlib.file_digest(content, "sha256").hexdigest()]
