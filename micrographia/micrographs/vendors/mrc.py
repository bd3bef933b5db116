"""MRC: the cell's size over its grid, in ångströms."""

from __future__ import annotations

from micrographia.micrographs.formats import mrc
from micrographia.micrographs.vendors.tags import HeaderReading, Tags, pixel_reading
from micrographia.records import ScaleReading


def read(data: bytes) -> HeaderReading:
    """The pixel size, where the cell was set."""
    grid, cell = mrc.cell(data)
    names = ("mx", "my", "cella.x", "cella.y")
    tags = Tags({name: f"{value:g}" for name, value in zip(names, (*grid, *cell), strict=True)})
    return HeaderReading(
        "MRC", readings=_pixel_size(tags, grid, cell), tags=tags.values, missing=tuple(tags.missing)
    )


def _pixel_size(tags: Tags, grid: tuple[int, int], cell: tuple[float, float]) -> tuple[ScaleReading, ...]:
    """Programs that know no pixel size write none, or 1 Å: neither is taken."""
    if min(grid) <= 0 or min(cell) <= 0:
        tags.miss("pixel size", f"the cell is {cell[0]:g} x {cell[1]:g} Å on a grid of {grid[0]} x {grid[1]}")
        return ()
    across, down = (side / steps / 10 for side, steps in zip(cell, grid, strict=True))
    if across == down == 0.1:
        tags.miss("pixel size", "it is exactly 1 Å, which programs write that do not know it")
        return ()
    return pixel_reading(tags, "vendor tag", across, down, "cella over mx")
