"""The measuring stage: every micrograph of a workspace that lacks measurements of this version."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from micrographia.catalog import Objects
from micrographia.engine import SILENT, Progress, apply
from micrographia.errors import WorkLeftOut, WorkspaceError
from micrographia.measure import METHOD_VERSION, measure_image
from micrographia.measure.field import SIZES_VERSION, measure_sizes
from micrographia.micrographs.field import open_field
from micrographia.records import Measurement, Micrograph
from micrographia.workspace import Workspace

BATCH = 32
"""Images measured between two commits; a killed run loses no more."""

NAMED = 5
"""Images that could not be measured and are named with their reasons."""

WORTH_A_WORKER = 64
"""Images for which a further process pays: starting one takes as long as measuring about so many."""


def measure(workspace: Workspace, progress: Progress = SILENT, with_sizes: bool = False) -> int:
    """Measure what is not yet measured and keep it; how many images were measured.

    ``with_sizes`` measures particles, fibres and patterns too, about a second an image. What is done stays
    done, so a run that was killed goes on where it stopped. Raises WorkspaceError where there are no
    micrographs; at the end WorkLeftOut, naming images that could not be measured.
    """
    stages = [Stage("measuring", METHOD_VERSION, _measure_one)]
    if with_sizes:
        stages.append(Stage("measuring sizes", SIZES_VERSION, _measure_sizes_of_one))
    missing = [workspace.catalog.unmeasured(stage.version) for stage in stages]
    if not any(missing) and not workspace.catalog.micrographs():
        raise WorkspaceError(f"{workspace.folder} holds no micrographs", "micrographia ingest IMAGES")
    reasons: dict[str, str] = {}
    for stage, left in zip(stages, missing, strict=True):
        reasons |= _run(stage, left, workspace, progress)
    if reasons:
        raise WorkLeftOut(
            f"{len(reasons)} images could not be measured ({'; '.join(list(reasons.values())[:NAMED])})",
            "ingest them again, then measure; all others were measured",
        )
    return max(map(len, missing))


class Stage(NamedTuple):
    """One set of measurements: what the progress is called, their version, and how one image gets them."""

    title: str
    version: str
    of_one: Callable[[Objects, Micrograph], tuple[Measurement, ...]]


def _run(
    stage: Stage, missing: Sequence[Micrograph], workspace: Workspace, progress: Progress
) -> dict[str, str]:
    """For each image that could not be measured, by id: its name and the reason."""
    workers = min(workspace.workers, 1 + len(missing) // WORTH_A_WORKER)
    done: dict[str, tuple[Measurement, ...]] = {}
    reasons = {}
    progress.begin(stage.title, len(missing), "images")
    for outcome in apply(partial(stage.of_one, workspace.objects), missing, workers):
        if outcome.result is None:
            reasons[outcome.item.id] = f"{outcome.item.name}: {outcome.reason}"
        else:
            done[outcome.item.id] = outcome.result
        if len(done) == BATCH:
            workspace.catalog.record_measurements(stage.version, done)
            done = {}
        progress.advance(note=outcome.item.name)
    workspace.catalog.record_measurements(stage.version, done)
    progress.end()
    return reasons


def _measure_one(objects: Objects, micrograph: Micrograph) -> tuple[Measurement, ...]:
    return measure_image(open_field(objects, micrograph))


def _measure_sizes_of_one(objects: Objects, micrograph: Micrograph) -> tuple[Measurement, ...]:
    return measure_sizes(open_field(objects, micrograph), micrograph.burnt_in)
