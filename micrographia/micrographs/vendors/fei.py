"""FEI and Thermo Fisher: SEM and dual beam, INI text in TIFF tag 34682 (Helios) or 34680 (S-FEG)."""

from __future__ import annotations

import math
import re

from micrographia.micrographs.vendors.tags import HeaderReading, Tags, ini, pixel_reading, quantity
from micrographia.records import Instrument, Quantity, ScaleReading

TAGS = (34682, 34680)
DEGREES = 180 / math.pi
"""In a radian."""
CONSISTENT = 0.005
"""Field width over columns, and pixel width, of one header differ by rounding alone."""
TECHNIQUES = {"EBeam": "SEM", "IBeam": "FIB", "IRBeam": "optical"}


def read(text: str, rows: int, columns: int) -> HeaderReading:
    """The header of an image of ``rows`` x ``columns`` pixels, its databar included."""
    tags = Tags(ini(text))
    beam = tags.text("[Beam] Beam") or "EBeam"
    across = _pixel_width(tags, beam, columns)
    width_m = tags.number("field width", f"[{beam}] HFW")
    return HeaderReading(
        dialect="FEI / Thermo Fisher",
        readings=across,
        instrument=Instrument(
            technique=TECHNIQUES.get(beam),
            maker="FEI / Thermo Fisher",
            model=tags.text("[System] SystemType", "[System] Type"),
            detector=tags.text("[Detectors] Name"),
            accelerating_voltage=_volts(tags, beam),
            working_distance=quantity(
                tags.positive("working distance", f"[{beam}] WD", "[Stage] WorkingDistance"), 1e3, "mm"
            ),
            magnification=_magnification(tags, width_m),
            # [User] Date follows the computer's country, so it is not trusted.
            taken=tags.moment("%d.%m.%Y %H:%M:%S", "[PrivateFei] TimeOfCreation"),
            stage=tags.stage(
                x=("[Stage] StageX", 1e3, "mm"),
                y=("[Stage] StageY", 1e3, "mm"),
                z=("[Stage] StageZ", 1e3, "mm"),
                rotation=("[Stage] StageR", DEGREES, "°"),
                tilt=("[Stage] StageT", DEGREES, "°"),
            ),
        ),
        tags=tags.values,
        missing=tuple(tags.missing),
        databar_rows=_databar_rows(tags, rows),
    )


def _pixel_width(tags: Tags, beam: str, columns: int) -> tuple[ScaleReading, ...]:
    """PixelWidth of the scan; for a camera, which scans nothing, its field width over its columns."""
    scan = tags.text("[Beam] Scan") or "EScan"
    columns_told = tags.text("[Image] ResolutionX")
    if columns_told and columns_told != str(columns):
        tags.miss(
            "pixel size",
            f"the header is of {columns_told} columns, the image has {columns}: resized or cropped",
        )
        return ()
    section = next((s for s in ("Scan", scan) if tags.text(f"[{s}] PixelWidth")), None)
    if section is None:
        width = tags.positive("pixel size", f"[{beam}] HFW") if tags.text(f"[{beam}] HFW") else None
        if width is None:
            tags.miss("pixel size", f"there is no [Scan] PixelWidth, [{scan}] PixelWidth or [{beam}] HFW")
            return ()
        detail = f"[{beam}] HFW over {columns} columns"
        return pixel_reading(tags, "vendor tag", width / columns * 1e9, None, detail)
    across = tags.positive("pixel size", f"[{section}] PixelWidth")
    down = tags.positive("pixel size", f"[{section}] PixelHeight")
    if across is None:
        return ()
    scale = pixel_reading(tags, "vendor tag", across * 1e9, down and down * 1e9, f"[{section}] PixelWidth")
    width = tags.positive("field width", f"[{beam}] HFW") if tags.text(f"[{beam}] HFW") else None
    if scale and width and abs(width / columns / across - 1) > CONSISTENT:
        detail = f"[{beam}] HFW over {columns} columns"
        scale += pixel_reading(tags, "vendor tag", width / columns * 1e9, None, detail)
    return scale


def _magnification(tags: Tags, width_m: float | None) -> float | None:
    """As the databar prints it: the width of the screen it is meant for over the field width."""
    screen = tags.text("[Image] MagCanvasRealWidth")
    if screen is None or not width_m:
        tags.miss("magnification", "there is no [Image] MagCanvasRealWidth")
        return None
    canvas = tags.positive("magnification", "[Image] MagCanvasRealWidth")
    return None if canvas is None else float(f"{canvas / width_m:.5g}")


def _volts(tags: Tags, beam: str) -> Quantity | None:
    volts = tags.positive("accelerating voltage", f"[{beam}] HV", "[Beam] HV")
    return quantity(volts, 1e-3, "kV")


def _databar_rows(tags: Tags, rows: int) -> int | None:
    """Rows below the field; DatabarHeight stands there even where no databar was saved."""
    field, told = tags.text("[Image] ResolutionY"), tags.text("[PrivateFei] DatabarHeight")
    numbers = [int(words) if words and re.fullmatch(r"\d{1,6}", words) else None for words in (field, told)]
    if numbers[0] is None:
        return None
    below = rows - numbers[0]
    return below if 0 <= below < rows else None
