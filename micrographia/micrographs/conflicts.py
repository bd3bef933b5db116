"""The pictures of contradicting scales that lie in a workspace: one an image, gone when its conflict is."""

from __future__ import annotations

import contextlib
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from micrographia import engine
from micrographia.catalog import Objects
from micrographia.engine import SILENT, Progress
from micrographia.micrographs import acquisition, conflict_picture
from micrographia.micrographs.conflict_picture import Conflict, draw_conflict
from micrographia.micrographs.display import open_display
from micrographia.records import Box, Micrograph
from micrographia.workspace import Workspace

OURS = f"*-{'[0-9a-f]' * 12}.png*"
"""Files of these names are pictures drawn here; no other is ever removed."""
LONGEST_STEM = 50
FEW = 8
"""So many pictures are drawn sooner than processes are started."""


class Pictures(NamedTuple):
    """What there is after a run."""

    folder: Path | None
    """Where they lie; None where there is none."""
    not_drawn: tuple[str, ...]
    """Images in conflict of which there is no picture, by name with the reason."""


def draw_conflicts(workspace: Workspace, progress: Progress = SILENT) -> Pictures:
    """Draw what is not drawn yet, and remove what is out of date.

    A picture's name holds a fingerprint of what it shows, so one that is there is up to date.
    """
    folder = workspace.conflict_folder
    wanted = {file_name(m): m for m in workspace.catalog.micrographs() if m.scale.verdict == "conflict"}
    _remove_others(folder, set(wanted))
    missing = [
        _ToDraw(m, folder / name, workspace.catalog.acquisition(m.id).bar)
        for name, m in wanted.items()
        if not (folder / name).exists()
    ]
    progress.begin("drawing conflicts of the scale", len(missing), "pictures")
    not_drawn = []
    workers = workspace.workers if len(missing) > FEW else 1
    for outcome in engine.apply(partial(_draw, workspace.objects), missing, workers):
        if not outcome.ok:
            not_drawn.append(f"{outcome.item.micrograph.name}: {outcome.reason}")
        progress.advance()
    progress.end()
    return Pictures(folder if len(wanted) > len(not_drawn) else None, tuple(not_drawn))


def file_name(micrograph: Micrograph) -> str:
    """The source file's name, then a fingerprint of all that is drawn: equal names are told apart."""
    shown = (
        conflict_picture.VERSION,
        acquisition.VERSION,
        micrograph.id,
        micrograph.name,
        micrograph.scale.model_dump_json(),
    )
    stem = re.sub(r"[^\w.-]+", "_", Path(micrograph.name).stem)[:LONGEST_STEM]
    return f"{stem}-{hashlib.sha256(repr(shown).encode()).hexdigest()[:12]}.png"


class _ToDraw(NamedTuple):
    micrograph: Micrograph
    path: Path
    bar: Box | None


def _draw(objects: Objects, item: _ToDraw) -> None:
    """Written beside and moved there, so that a killed run leaves no half picture under its name."""
    micrograph = item.micrograph
    image = open_display(objects, micrograph)
    item.path.parent.mkdir(exist_ok=True)
    beside = item.path.with_name(item.path.name + ".part")
    beside.write_bytes(draw_conflict(Conflict(micrograph.name, image, micrograph.scale, item.bar)))
    beside.replace(item.path)


def _remove_others(folder: Path, wanted: set[str]) -> None:
    """What cannot be removed stays: no ingest ends for that."""
    for path in folder.glob(OURS):
        if path.name not in wanted:
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()  # where it is empty
