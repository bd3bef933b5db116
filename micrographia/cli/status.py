"""``micrographia status``: what each stage has done, what is missing, what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from micrographia.cli.console import HERE, AsJson, Lab, at_work, show, show_json
from micrographia.cli.folds import folds_of
from micrographia.errors import MicrographiaError

if TYPE_CHECKING:
    from micrographia.records import Micrograph
    from micrographia.workspace import Workspace

OUTDATED = "images, conversations or recipe have changed since it was tuned: micrographia tune"

UNITS = {
    "ingest": "micrographs",
    "measure": "micrographs",
    "teach": "micrographs",
    "tune": "students",
    "evaluate": "reports",
}
"""The stages in their order, and what each makes."""


def status(lab: Lab = HERE, as_json: AsJson = False) -> None:
    """Show how far each stage is, what is missing, and what was left out with its reason.

    Example: micrographia status --lab my-lab

    Example: micrographia status --lab my-lab --json
    """
    with at_work(lab, quiet=True) as (workspace, _):
        state = state_of(workspace)
    if as_json:
        show_json(state)
    else:
        _draw(state)


def state_of(workspace: Workspace) -> dict[str, Any]:
    """Every stage's state, as ``--json`` prints it."""
    images = workspace.catalog.micrographs()
    micrographs = len(images)
    return {
        "workspace": str(workspace.folder),
        "recipe": workspace.recipe.recipe,
        "ingest": _ingested(workspace, images),
        "measure": _measured(workspace, micrographs),
        "teach": _taught(workspace, micrographs),
        "tune": (tuned := _tuned(workspace)),
        "evaluate": _evaluated(workspace, tuned["students"]),
    }


def _ingested(workspace: Workspace, images: Sequence[Micrograph]) -> dict[str, Any]:
    sources = workspace.catalog.sources()
    outcomes = Counter(source.outcome for source in sources)
    divided = workspace.catalog.parts()
    return {
        "done": len(images),
        "missing": sum(m.id not in divided for m in images),
        "files": {outcome: outcomes[outcome] for outcome in ("taken", "refused", "skipped", "gone")},
        "folds": workspace.catalog.folds(),
        "parts": {part: dict(labels) for part, labels in workspace.catalog.count_parts().items()},
        "left_out": [{"path": s.path, "reason": s.reason} for s in sources if s.outcome == "refused"],
        "notes": [{"image": m.name, "note": note} for m in images for note in m.notes],
    }


def _measured(workspace: Workspace, micrographs: int) -> dict[str, int]:
    from micrographia.measure import METHOD_VERSION

    missing = len(workspace.catalog.unmeasured(METHOD_VERSION))
    return {"done": micrographs - missing, "missing": missing}


def _taught(workspace: Workspace, micrographs: int) -> dict[str, int]:
    from micrographia.teach.generate import current_course

    course = current_course(workspace)
    missing = len(workspace.catalog.untaught(course))
    conversations = sum(1 for _ in workspace.catalog.conversations(course))
    return {"done": micrographs - missing, "missing": missing, "conversations": conversations}


def _tuned(workspace: Workspace) -> dict[str, Any]:
    from micrographia.tune.card import CARD

    folders = {fold: workspace.student_folder(fold) for fold in folds_of(workspace.recipe)}
    there = {fold: folder for fold, folder in folders.items() if (folder / CARD).exists()}
    old = {str(there[fold]): reason for fold in there if (reason := outdated(workspace, fold))}
    done = [str(folder) for folder in there.values() if str(folder) not in old]
    left_out = [{"path": folder, "reason": reason} for folder, reason in old.items()]
    return {"done": len(done), "missing": len(folders) - len(done), "students": done, "left_out": left_out}


def outdated(workspace: Workspace, fold: int | None) -> str | None:
    """Why the student of a fold is not the one that would be tuned now; None where it is."""
    from micrographia.tune.card import read_card
    from micrographia.tune.corpus import corpus_of
    from micrographia.tune.given import digest_of_given

    try:
        card = read_card(workspace.student_folder(fold))
        now = corpus_of(workspace, fold or 0).fingerprint(workspace.recipe.tune, digest_of_given(workspace))
    except MicrographiaError as error:
        return str(error)
    return None if card and card.fingerprint == now else OUTDATED


def _evaluated(workspace: Workspace, students: Sequence[str]) -> dict[str, Any]:
    """A report counts where it was written after its student, and that is up to date."""
    folds = folds_of(workspace.recipe)
    reports = {
        str(workspace.student_folder(fold)): workspace.report_folder(fold) / "report.html" for fold in folds
    }
    done = [str(reports[student]) for student in students if _is_newer(reports[student], Path(student))]
    return {"done": len(done), "missing": len(folds) - len(done), "reports": done}


def _is_newer(report: Path, student: Path) -> bool:
    return report.exists() and report.stat().st_mtime_ns >= student.stat().st_mtime_ns


def _draw(state: dict[str, Any]) -> None:
    ingested = state["ingest"]
    show(f"{state['workspace']}, recipe {state['recipe']}")
    table = Table("stage", "done", "missing", "left out")
    for stage, unit in UNITS.items():
        done = state[stage]
        left_out = len(done.get("left_out", ()))
        table.add_row(stage, f"{done['done']} {unit}", str(done.get("missing", "")), str(left_out or ""))
    show(table)
    if ingested["parts"]:
        show(_parts(ingested["parts"]))
    every = [*ingested["left_out"], *state["tune"]["left_out"]]
    if every:
        show(_left_out(every))
    if ingested["notes"]:
        show(_notes(ingested["notes"]))


def _parts(parts: dict[str, dict[str, int]]) -> Table:
    """Images of each class in each part."""
    table = Table("class", *parts)
    for label in sorted({label for labels in parts.values() for label in labels}):
        table.add_row(Text(label or "(none)"), *(str(labels.get(label, 0)) for labels in parts.values()))
    return table


def _notes(notes: list[dict[str, str]]) -> Table:
    """What had to be left out or assumed when images were read, and of how many; `--json` names them."""
    table = Table("note", "images")
    for note, count in Counter(note["note"] for note in notes).most_common():
        table.add_row(Text(note), str(count))
    return table


def _left_out(files: list[dict[str, str]]) -> Table:
    table = Table("left out", "why")
    for file in files:
        table.add_row(Text(file["path"]), Text(file["reason"]))
    return table
