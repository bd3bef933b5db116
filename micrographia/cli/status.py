"""``micrographia status``: what each stage has done, what is missing, what was left out and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from micrographia.cli.console import HERE, AsJson, Lab, at_work, show, show_json

if TYPE_CHECKING:
    from micrographia.workspace import Workspace


def status(lab: Lab = HERE, as_json: AsJson = False) -> None:
    """Show how far each stage is, what is missing, and what was left out with its reason.

    Example: micrographia status --lab my-lab

    Example: micrographia status --lab my-lab --json | jq .ingest.left_out
    """
    with at_work(lab, quiet=True) as (workspace, _):
        state = state_of(workspace)
    if as_json:
        show_json(state)
    else:
        _draw(state)


def state_of(workspace: Workspace) -> dict[str, Any]:
    """Every stage's state, as ``--json`` prints it."""
    return {
        "workspace": str(workspace.folder),
        "recipe": workspace.recipe.recipe,
        "ingest": _ingested(workspace),
        "measure": _measured(workspace),
    }


def _ingested(workspace: Workspace) -> dict[str, Any]:
    sources = workspace.catalog.sources()
    outcomes = Counter(source.outcome for source in sources)
    return {
        "done": len(workspace.catalog.micrographs()),
        "files": {outcome: outcomes[outcome] for outcome in ("taken", "refused", "skipped")},
        "parts": {part: dict(n) for part, n in workspace.catalog.count_parts().items()},
        "left_out": [{"path": s.path, "reason": s.reason} for s in sources if s.outcome == "refused"],
    }


def _measured(workspace: Workspace) -> dict[str, Any]:
    from micrographia.measure import METHOD_VERSION

    missing = len(workspace.catalog.unmeasured(METHOD_VERSION))
    return {"done": len(workspace.catalog.micrographs()) - missing, "missing": missing}


def _draw(state: dict[str, Any]) -> None:
    show(f"{state['workspace']}  (recipe {state['recipe']})")
    table = Table("stage", "done", "missing")
    table.add_row("ingest", f"{state['ingest']['done']} micrographs", "")
    table.add_row("measure", f"{state['measure']['done']} micrographs", f"{state['measure']['missing']}")
    show(table)
