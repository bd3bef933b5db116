"""``micrographia compare-measurements``: do two ways to measure the same things agree?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micrographia.cli.console import AsJson, Quiet, say, show, show_json

Table = Annotated[
    Path, typer.Argument(help="A CSV table, a row a particle or image, as ImageJ saves results.")
]


ANOTHER_UNIT = 150
"""Bias in per cent of the mean, beyond which two tables are hardly in one unit."""


def compare_measurements(
    ours: Table,
    theirs: Table,
    columns: Annotated[
        tuple[str, str] | None,
        typer.Option(help="A column of the first table and one of the second.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The plot, a PNG file.")] = Path("agreement.png"),
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Show bias and limits of agreement between OURS and THEIRS, with the plot of Bland and Altman.

    Rows are paired by position where both tables have columns X and Y (ImageJ: Set Measurements, Centroid),
    else by a column Label (or file, name, image) of words that differ, else in their order, of which you are
    warned. What a side of the field cuts is left out. Both columns have to be in the same unit. The bias is
    the mean of ours minus theirs, the limits hold 95 % of the differences.

    Example: micrographia compare-measurements measured/gold-particles.csv imagej-results.csv

    Example: micrographia compare-measurements ours.csv theirs.csv --columns Diameter Feret
    """
    from micrographia.measure.agreement import common_column, compare, read_results
    from micrographia.measure.overlay import draw_agreement

    first, second = read_results(ours), read_results(theirs)
    names = columns or common_column(first, second)
    found = compare(first, second, *names)
    draw_agreement(found.means, found.differences, out, names[0])
    low, high = found.limits
    bias_low, bias_high = found.bias_interval
    if as_json:
        show_json(
            {
                "columns": list(names),
                "n": int(found.differences.size),
                "paired_by": found.paired_by,
                "bias": found.bias,
                "bias_low": bias_low,
                "bias_high": bias_high,
                "limit_low": low,
                "limit_high": high,
                "plot": str(out),
            }
        )
        return
    share = 100 * found.bias / float(found.means.mean())
    show(
        f"{names[0]} against {names[1]}, n = {found.differences.size}, paired by {found.paired_by}\n"
        f"bias (ours - theirs): {found.bias:.4g} [{bias_low:.4g}, {bias_high:.4g}], "
        f"{share:.1f} % of the mean\n"
        f"limits of agreement: {low:.4g} to {high:.4g}"
    )
    if found.paired_by == "order":
        say("rows were paired by their order alone: if it differs, so does what is compared", style="yellow")
    if abs(share) > ANOTHER_UNIT:
        say(f"they differ by {share:.0f} %: are both in the same unit?", style="yellow")
    if not quiet:
        say(f"written: {out}")
