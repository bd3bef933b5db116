"""``micrographia ingest``: images into the catalogue."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from micrographia.cli.console import HERE, AsJson, Lab, Quiet, at_work, say, show_json
from micrographia.errors import WorkLeftOut

if TYPE_CHECKING:
    from micrographia.micrographs.ingest import IngestSummary
    from micrographia.records import Source

Labels = Annotated[
    Path | None,
    typer.Option(
        "--table",
        help="CSV or JSONL, a row a file. Columns: file, and as wanted label (its class), group (specimen), "
        "caption, part, pixel_size_nm and others (docs/ingest.md). It holds until another is given.",
    ),
]

VERDICTS = {
    "agreed": "agreed by two sources or more",
    "single": "from one source",
    "conflict": "in conflict, so that no length is told of them",
    "none": "none",
}
"""Of scales, in words."""
GROUPS_NEEDED = 3
"""Of one class, so that each part gets an image: what belongs together or looks alike is one group."""
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

    PNG, JPEG, BMP, TIFF, and instruments' DM3, DM4, EMD, SER and MRC, told by content. Scale and settings are
    read from the maker's header, the text file beside the image, the databar and the scale bar, and held
    against each other; images on which they differ are drawn in the workspace's folder conflicts. An image's
    class is the name of its folder, or stands in the table. Near duplicates, overlapping fields and images of
    one group (specimen, series) are kept on one side of the split. A file that cannot be read is recorded
    with the reason, and the exit status is 1.

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
        "copies": summary.copies,
        "without_label": summary.without_label,
        "taken": summary.taken,
        "unchanged": summary.unchanged,
        "gone": summary.gone,
        "skipped": len(summary.skipped),
        "refused": [{"path": source.path, "reason": source.reason} for source in summary.refused],
        "unread": list(summary.unread),
        "skipped_files": [{"path": source.path, "reason": source.reason} for source in summary.skipped],
        "scales": {verdict: summary.scales.get(verdict, 0) for verdict in VERDICTS},
        "scale_conflicts": list(summary.scale_conflicts),
        "conflict_pictures": summary.conflict_pictures and str(summary.conflict_pictures),
        "conflicts_not_drawn": list(summary.conflicts_not_drawn),
        "look_alikes": summary.look_alikes,
        "parts": [dict(sizes) for sizes in summary.parts],
        "label_conflicts": list(summary.label_conflicts),
        "moved": list(summary.moved),
        "tables": list(summary.tables),
        "rows_without_file": list(summary.rows_without_file),
        "unknown_columns": list(summary.unknown_columns),
    }


def in_words(summary: IngestSummary) -> str:
    """A line for each thing that a person should know; what did not happen is not mentioned."""
    told = [
        *_counted(summary.taken, "taken"),
        *_counted(summary.unchanged, "unchanged since the last time"),
        *_counted(summary.gone, "not there any more, left out from now on"),
        *_listed([_skipped(source) for source in summary.skipped], "not an image", "files"),
        *map(_as_table, summary.tables),
        *_listed(summary.unread, "whose header and print could not be read", "images"),
        *_counted(summary.copies, "with the bytes of another"),
        *_listed(summary.rows_without_file, "rows of the table that name no file"),
        *_listed(summary.unknown_columns, "columns of the table that are not known"),
        f"micrographs in the workspace: {summary.micrographs}",
        "their scale: "
        + "; ".join(f"{summary.scales[v]} {w}" for v, w in VERDICTS.items() if summary.scales.get(v)),
        *_listed(summary.scale_conflicts, "whose readings of the scale differ", "images"),
        *([f"they are drawn in {summary.conflict_pictures}"] if summary.conflict_pictures else []),
        *_listed(summary.conflicts_not_drawn, "of which that could not be drawn", "images"),
        *_counted(summary.without_label, "without a class", "images"),
        *_listed(summary.label_conflicts, "without a class, because their files differ on it", "images"),
        *_counted(summary.look_alikes, "like another, kept on its side of the split", "images"),
        *_listed(summary.moved, "moved to another part", "images"),
        *divided(summary),
    ]
    return "\n".join(told)


def divided(summary: IngestSummary) -> list[str]:
    """How many images are in each part, and why none is in one that has to have some."""
    if not summary.micrographs:
        return []
    first, folds = summary.parts[0], len(summary.parts)
    sizes = ", ".join(f"{count} {part}" for part, count in first.items())
    told = [f"divided into {sizes}" + (f" (the first of {folds} folds)" if folds > 1 else "")]
    for part in first:
        empty = sum(not sizes[part] for sizes in summary.parts)
        if empty:
            where = f" in {empty} of {folds} folds" if folds > 1 else ""
            told.append(f"{part} has no image{where}: {_why_empty(summary.most_groups)}")
    return told


def _why_empty(most_groups: int) -> str:
    if most_groups < GROUPS_NEEDED:
        return f"each class has at most {most_groups} groups, and {GROUPS_NEEDED} are needed"
    return "the table's column part, and images that belong together, leave none for it"


def _skipped(source: Source) -> str:
    """Its name, and the reason where it is more than that it is no image."""
    name = Path(source.path).name
    return name if source.reason == "not an image" else f"{name}: {source.reason}"


def _as_table(path: str) -> str:
    """What to do with it; named from here, where it lies below."""
    table = Path(path)
    named = table.relative_to(Path.cwd()) if table.is_relative_to(Path.cwd()) else table
    return f"{table.name} looks like a table of labels: give it with --table {shlex.quote(str(named))}"


def _counted(count: int, what: str, kind: str = "files") -> list[str]:
    return [f"{kind} {what}: {count}"] if count else []


def _listed(names: Sequence[str], what: str, kind: str = "") -> list[str]:
    """The first of them by name; `--json` has all."""
    more = ", ..." if len(names) > NAMED else ""
    return [f"{kind} {what}: {len(names)} ({', '.join(names[:NAMED])}{more})".strip()] if names else []


def require_all_read(summary: IngestSummary) -> None:
    """Raise WorkLeftOut naming images that could not be read, or where there was no image."""
    if not summary.refused:
        if not summary.taken + summary.unchanged:
            raise WorkLeftOut(
                "no image was found",
                "name folders that hold PNG, JPEG, BMP or TIFF files; hidden ones are left out",
            )
        return
    named = "; ".join(str(source.reason) for source in summary.refused[:NAMED])
    more = f"; and {len(summary.refused) - NAMED} more" if len(summary.refused) > NAMED else ""
    raise WorkLeftOut(
        f"images that could not be read: {len(summary.refused)} ({named}{more})",
        "all others were taken; `micrographia status` lists those that were not",
    )
