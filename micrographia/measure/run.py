"""The measuring stage: every micrograph of a workspace that lacks measurements of this version."""

from __future__ import annotations

from functools import partial

from micrographia.catalog import Objects
from micrographia.engine import SILENT, Progress, apply
from micrographia.errors import WorkLeftOut, WorkspaceError
from micrographia.measure import METHOD_VERSION, measure_image
from micrographia.micrographs.field import open_field
from micrographia.records import Measurement, Micrograph
from micrographia.workspace import Workspace

BATCH = 32
"""Images measured between two commits; a killed run loses no more."""

NAMED = 5
"""Images that could not be measured and are named with their reasons."""

WORTH_A_WORKER = 64
"""Images for which a further process pays: starting one takes as long as measuring about so many."""


def measure(workspace: Workspace, progress: Progress = SILENT) -> int:
    """Measure what is not yet measured and keep it; how many images were measured.

    What is done stays done, so a run that was killed goes on where it stopped. Raises WorkspaceError where
    there are no micrographs; at the end WorkLeftOut, naming images that could not be measured.
    """
    missing = workspace.catalog.unmeasured(METHOD_VERSION)
    if not missing and not workspace.catalog.micrographs():
        raise WorkspaceError(f"{workspace.folder} holds no micrographs", "micrographia ingest IMAGES")
    workers = min(workspace.workers, 1 + len(missing) // WORTH_A_WORKER)
    done: dict[str, tuple[Measurement, ...]] = {}
    reasons: list[str] = []
    progress.begin("measuring", len(missing), "images")
    for outcome in apply(partial(_measure_one, workspace.objects), missing, workers):
        if outcome.result is None:
            reasons.append(f"{outcome.item.name}: {outcome.reason}")
        else:
            done[outcome.item.id] = outcome.result
        if len(done) == BATCH:
            workspace.catalog.record_measurements(METHOD_VERSION, done)
            done = {}
        progress.advance(note=outcome.item.name)
    workspace.catalog.record_measurements(METHOD_VERSION, done)
    progress.end()
    if reasons:
        raise WorkLeftOut(
            f"{len(reasons)} images could not be measured ({'; '.join(reasons[:NAMED])})",
            "ingest them again, then measure; all others were measured",
        )
    return len(missing)


def _measure_one(objects: Objects, micrograph: Micrograph) -> tuple[Measurement, ...]:
    return measure_image(open_field(objects, micrograph))
