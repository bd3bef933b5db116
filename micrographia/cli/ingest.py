"""``micrographia ingest``: images into the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from micrographia.cli.console import HERE, AsJson, Lab, Quiet, at_work, say, show_json
from micrographia.errors import WorkLeftOut

if TYPE_CHECKING:
    from micrographia.micrographs.ingest import IngestSummary

Labels = Annotated[
    Path | None, typer.Option("--table", help="CSV or JSONL with labels, groups and captions of the files.")
]

NAMED = 5
"""Files of one kind that are named at once; `status` and `--json` list all of them."""


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders that hold them.")],
    table: Labels = None,
    lab: Lab = HERE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Take every image at or below PATHS into the workspace and divide them into train, validation and test.

    PNG, JPEG, BMP and TIFF, told by content. An image's class is the name of its folder, or stands in the
    table. Near duplicates, overlapping fields and images of one group (specimen, series) are kept on one
    side of the split. A file that cannot be read is recorded with the reason, and the exit status is 1.

    Example: micrographia ingest --lab my-lab ~/images

    Example: micrographia ingest --lab my-lab ~/images --table labels.csv

    Next: micrographia teach --lab my-lab
    """
    from micrographia.micrographs.ingest import ingest

    with at_work(lab, quiet) as (workspace, progress):
        summary = ingest(workspace, paths, table, progress=progress)
    if as_json:
        show_json(as_dict(summary))
    if not quiet:
        say(in_words(summary))
    require_all_read(summary)


def as_dict(summary: IngestSummary) -> dict[str, Any]:
    """As ``--json`` prints it."""
    return {
        "micrographs": summary.micrographs,
        "taken": summary.taken,
        "unchanged": summary.unchanged,
        "gone": summary.gone,
        "skipped": len(summary.skipped),
        "refused": [{"path": source.path, "reason": source.reason} for source in summary.refused],
        "look_alikes": summary.look_alikes,
        "label_conflicts": list(summary.label_conflicts),
        "moved": summary.moved,
        "rows_without_file": list(summary.rows_without_file),
        "unknown_columns": list(summary.unknown_columns),
    }


def in_words(summary: IngestSummary) -> str:
    """A line for each thing that a person should know; what did not happen is not mentioned."""
    told = [
        *_counted(summary.taken, "files taken"),
        *_counted(summary.unchanged, "files unchanged since the last time"),
        *_counted(summary.gone, "files that are not there any more, left out from now on"),
        *_counted(len(summary.skipped), "files that are not images"),
        *_counted(
            summary.look_alikes, "images that share a place with another, kept on its side of the split"
        ),
        *_listed(summary.label_conflicts, "images without a label, because their files differ on it"),
        *_listed([f"{name} ({why})" for name, why in summary.moved.items()], "images moved to another part"),
        *_listed(summary.rows_without_file, "rows of the table that name no file"),
        *_listed(summary.unknown_columns, "columns of the table that are not known"),
        f"{summary.micrographs} micrographs in the workspace",
    ]
    return "\n".join(told)


def _counted(count: int, what: str) -> list[str]:
    return [f"{count} {what}"] if count else []


def _listed(names: Sequence[str], what: str) -> list[str]:
    """The first of them by name; `--json` has all."""
    more = ", ..." if len(names) > NAMED else ""
    return [f"{len(names)} {what}: {', '.join(names[:NAMED])}{more}"] if names else []


def require_all_read(summary: IngestSummary) -> None:
    """Raise WorkLeftOut naming images that could not be read."""
    if not summary.refused:
        return
    named = "; ".join(str(source.reason) for source in summary.refused[:NAMED])
    more = f"; and {len(summary.refused) - NAMED} more" if len(summary.refused) > NAMED else ""
    raise WorkLeftOut(
        f"images that could not be read: {len(summary.refused)} ({named}{more})",
        "all others were taken; `micrographia status` lists those that were not",
    )
