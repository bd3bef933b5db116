"""``micrographia measure``: scale and numbers from pixels, of a workspace or of single images."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from micrographia.cli.console import HERE, AsJson, Lab, Quiet, at_work, say, show, show_json, with_lab
from micrographia.errors import RecipeError, WorkLeftOut
from micrographia.micrographs.lengths import printed_quantity
from micrographia.micrographs.scale import scale_in_words

if TYPE_CHECKING:
    from micrographia.measure.single import MeasuredPicture
    from micrographia.records import Measurement, Quantity

KINDS_HELP = "What to measure: particles, fibres, pattern, pores, grains, cracks, quality; commas between."


def measure(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Image files to measure by themselves; without any, the workspace.", show_default=False
        ),
    ] = None,
    kinds: Annotated[str, typer.Option("--what", help=KINDS_HELP)] = "particles,fibres,pattern,quality",
    method: Annotated[
        str, typer.Option(help="How particles are outlined: auto, network or threshold.")
    ] = "auto",
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Folder for the pictures and the table of particles of each image."),
    ] = Path("measured"),
    lab: Lab = HERE,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure images: the scale with its sources, then sizes with unit, interval and n, or why there is none.

    Of each IMAGE a table is printed; a picture with what was measured drawn on it is written, and a table of
    its particles; where readings of its scale differ, a picture of how. Nothing of a workspace is needed.
    Without an IMAGE, every micrograph of the workspace that is not measured yet is measured: grey, texture,
    direction, spots and lines; `teach` does that by itself.

    Example: micrographia measure fracture.tif

    Example: micrographia measure --what grains steel.tif

    Example: micrographia measure --lab my-lab

    Next: micrographia compare-measurements measured/fracture-particles.csv imagej-results.csv
    """
    if not images:
        _measure_workspace(lab, quiet)
        return
    from micrographia import engine
    from micrographia.measure.single import measure_picture, names_for, write_results

    measure_one = partial(measure_picture, kinds=_kinds(kinds), method=_method(method))
    told: dict[str, Any] = {}
    faults = []
    for outcome, stem in zip(engine.apply(measure_one, images), names_for(images), strict=True):
        if outcome.result is None:
            faults.append(str(outcome.reason))
            continue
        written = write_results(outcome.result, out, stem)
        told[str(outcome.item)] = as_dict(outcome.result) | {"written": [str(file) for file in written]}
        if not as_json:
            show(in_words(outcome.result))
            if not quiet:
                say("written: " + ", ".join(str(file) for file in written))
    if as_json:
        show_json(told)
    if faults:
        others = "all others were measured" if told else "name a file that `micrographia ingest` would take"
        raise WorkLeftOut(f"images that could not be measured: {len(faults)} ({'; '.join(faults)})", others)


def _measure_workspace(lab: Path, quiet: bool) -> None:
    from micrographia.measure import run

    with at_work(lab, quiet) as (workspace, progress):
        count = run.measure(workspace, progress)
    if not quiet:
        say(with_lab(f"micrographs measured: {count}; next: micrographia teach", lab))


def _kinds(words: str) -> tuple[Any, ...]:
    from micrographia.measure.field import KINDS

    asked = tuple(word.strip() for word in words.split(",") if word.strip())
    for word in asked:
        if word not in KINDS:
            raise RecipeError(f"--what is {word!r}", f"use one or more of {', '.join(KINDS)}")
    return asked


def _method(word: str) -> Any:
    from micrographia.measure.segment import METHODS

    if word not in METHODS:
        raise RecipeError(f"--method is {word!r}", f"use one of {', '.join(METHODS)}")
    return word


def in_words(measured: MeasuredPicture) -> Group:
    """The scale, then a line for each measurement."""
    table = Table(
        "measurement", "value", "95 % interval", "n", box=None, pad_edge=False, title_justify="left"
    )
    for reason, alike in itertools.groupby(measured.measured.measurements, lambda found: found.refused):
        if reason is None:
            for found in alike:
                _add_row(table, found.name, found.quantity)
        else:
            names = [found.name for found in alike]
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            table.add_row(names[0] + more, Text(f"cannot tell: {reason}", style="dim"), "", "")
    return Group(
        Text(measured.picture.name, style="bold"), Text(scale_in_words(measured.picture.scale)), table
    )


def _add_row(table: Table, name: str, quantity: Quantity | None) -> None:
    if quantity is not None:
        value, interval = printed_quantity(quantity)
        table.add_row(name, value, interval, "" if quantity.n is None else str(quantity.n))


def as_dict(measured: MeasuredPicture) -> dict[str, Any]:
    """As ``--json`` prints it."""
    picture = measured.picture
    return {
        "scale": picture.scale.model_dump(),
        "pixel_size_nm": picture.scale.pixel_size_nm,
        "instrument": picture.instrument.model_dump(exclude_none=True),
        "missing": list(picture.missing),
        "notes": list(picture.notes),
        "outlines_by": measured.measured.segmentation and measured.measured.segmentation.method,
        "outlines_because": measured.measured.segmentation and measured.measured.segmentation.reason,
        "measurements": {m.name: _measurement(m) for m in measured.measured.measurements},
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    if measurement.quantity is None:
        return {"refused": measurement.refused, "method": measurement.method}
    return measurement.quantity.model_dump(exclude_none=True) | {"method": measurement.method}
