"""``micrographia screen``: a table for a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from micrographia.cli.ask import Student
from micrographia.cli.console import HERE, AsJson, Lab, Quiet, at_work, say, show_json
from micrographia.errors import WorkLeftOut

if TYPE_CHECKING:
    from micrographia.assistant.screen import Screening

NAMED = 5
"""Unreadable files that are named at once; the table has all of them."""


def screen(
    folder: Annotated[Path, typer.Argument(help="Images lie in it, at any depth.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table: a .csv or .parquet file.")],
    lab: Lab = HERE,
    student: Student = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a table with a row for each image: its class with confidence, a caption, and what is measured.

    A file that cannot be read is a row with its error, and the exit status is 1. A run that was stopped goes
    on where it was; run again, only files that are new, changed or were unreadable are looked at.

    Example: micrographia screen --lab my-lab new-images --out table.csv

    Next: sort the table by `confidence`, and look at the least sure ones yourself
    """
    from micrographia.assistant import Assistant
    from micrographia.assistant.load import find
    from micrographia.assistant.screen import screen

    with at_work(lab, quiet) as (workspace, progress):
        assistant = Assistant.load(find(workspace, student))
        screening = screen(folder, out, assistant, workspace.workers, progress=progress)
    if as_json:
        show_json(as_dict(screening, assistant.identity))
    if not quiet:
        say(f"{out}: {screening.images} images, {screening.computed} of them looked at now")
    require_all_read(screening)


def as_dict(screening: Screening, student: str) -> dict[str, Any]:
    """As ``--json`` prints it."""
    return {
        "table": str(screening.table),
        "images": screening.images,
        "computed": screening.computed,
        "skipped": screening.skipped,
        "errors": [{"path": path, "reason": reason} for path, reason in screening.errors],
        "student": student,
    }


def require_all_read(screening: Screening) -> None:
    """Raise WorkLeftOut naming files that could not be read."""
    if not screening.errors:
        return
    named = "; ".join(reason for _, reason in screening.errors[:NAMED])
    more = f"; and {len(screening.errors) - NAMED} more" if len(screening.errors) > NAMED else ""
    raise WorkLeftOut(
        f"images that could not be read: {len(screening.errors)} ({named}{more})",
        f"all others are in {screening.table}, and these stand there with their error",
    )
