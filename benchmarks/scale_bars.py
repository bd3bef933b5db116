"""Scale bars and databars: is the label read rightly, how exactly is the bar measured, and is one ever wrong?

    python -m benchmarks.scale_bars [--json] [--phantoms 120]

Images with a bar: those whose file name is the label of their bar, the instrument files (header and bar are
held against each other), fracture images with a databar, and drawn ones in three looks. Keys:
``label_accuracy`` of those answered, ``answered`` of all, ``length_error_median`` of drawn bars,
``wrong_agreed``: images whose verdict is "agreed" and whose pixel size is more than 3 % off,
``vendor_difference_median`` between bar and header.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import command
from micrographia import phantoms
from micrographia.micrographs.burnt_in import BurntIn, read_burnt_in
from micrographia.micrographs.display import grey_of, to_display
from micrographia.micrographs.lengths import parse_length
from micrographia.micrographs.picture import open_picture
from micrographia.micrographs.read import decode
from micrographia.records import Scale

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZES = ((512, 512), (768, 1024), (484, 640))
BARS_BY_HAND = {"Zeiss_1": 171.0, "Tescan_1": 440.0, "x200": 404.0}
"""Pixels of instrument files' bars."""
JEOL_LABELS = {"B3067_02": "100 um", "S3090_03": "100 um"}
"""Of the fracture images with a databar; all others say 10 um. Read with the eye."""
WRONG = 0.03


@dataclass(frozen=True)
class Case:
    """One image with a bar, what its label says, and where known the bar's pixels and the pixel size."""

    kind: str
    name: str
    label_nm: float
    found: BurntIn
    scale: Scale
    bar_px: float | None = None
    pixel_nm: float | None = None


def named_by_label() -> Iterator[Case]:
    """File name = label: "20 nm(2).png"."""
    for path in sorted((DATA / "scale-bars").glob("*.png")):
        grey = grey_of(to_display(decode(path).pixels)[0])
        found = read_burnt_in(grey)
        label = parse_length(path.stem.partition("(")[0])
        yield Case("scale-bars", path.name, label or 0.0, found, Scale.of(found.readings))


def instruments() -> Iterator[Case]:
    """Files whose header has a scale and whose databar has a bar."""
    labels = {"1-2": "20 um", "1_1": "5 um", "Ebeam": "500 um", "x200": "200 um", "x600": "50 um"}
    labels |= {"Tescan_1": "2 um", "Tescan_2": "100 um", "Zeiss_1": "1 um", "Zeiss_2": "20 um"}
    for path in sorted((DATA / "vendor").rglob("*")):
        label = next((words for part, words in labels.items() if part in path.stem), None)
        if label is None or path.suffix.lower() != ".tif":
            continue
        picture = open_picture(path)
        header = [r.pixel_size_nm for r in picture.scale.readings if r.source in ("vendor tag", "sidecar")]
        by_hand = next((px for part, px in BARS_BY_HAND.items() if part in path.stem), None)
        found = read_burnt_in(grey_of(picture.display), _databar_rows(picture.display, picture.box))
        yield Case("vendor", path.name, parse_length(label) or 0.0, found, picture.scale, by_hand, header[0])


def _databar_rows(display: np.ndarray, box: object) -> int | None:
    return None if box is None else display.shape[0] - box.bottom  # type: ignore[attr-defined]


def fractures() -> Iterator[Case]:
    """JEOL's databars."""
    for path in sorted((DATA / "databar-unlabelled").glob("*.jpg")):
        label = next((words for part, words in JEOL_LABELS.items() if part in path.stem), "10 um")
        found = read_burnt_in(grey_of(to_display(decode(path).pixels)[0]))
        yield Case("fracture", path.name, parse_length(label) or 0.0, found, Scale.of(found.readings))


def drawn(number: int) -> Iterator[Case]:
    """Phantoms in three looks and sizes, every fourth one through JPEG."""
    for k in range(number):
        category, style = phantoms.CATEGORIES[k % 10], ("fei", "zeiss", "tescan")[k % 3]
        phantom = phantoms.draw(category, 5000 + k, size=SIZES[k // 3 % 3], databar=style)
        bar = phantom.databar
        assert bar is not None
        found = read_burnt_in(_through_jpeg(phantom.image) if k % 4 == 3 else phantom.image)
        yield Case(
            "phantom",
            f"{category} {style} {k}",
            parse_length(bar.label) or 0.0,
            found,
            Scale.of(found.readings),
            bar.bar_px,
            phantom.pixel_size_nm,
        )


def _through_jpeg(image: np.ndarray) -> np.ndarray:
    import io

    held = io.BytesIO()
    Image.fromarray(image).save(held, "JPEG", quality=85)
    return np.asarray(Image.open(held))


def figures(cases: list[Case]) -> dict[str, float | int | str]:
    """What is printed."""
    answered = [case for case in cases if case.found.bar]
    right = [
        case for case in answered if case.found.bar and _same(case.found.bar.label.nanometres, case.label_nm)
    ]
    errors = {
        case.name: abs(case.found.bar.bar.length / case.bar_px - 1)
        for case in right
        if case.bar_px and case.found.bar
    }
    wrong = [case for case in cases if _is_wrong(case)]
    differences = [
        abs(case.found.bar.reading.pixel_size_nm / case.pixel_nm - 1)
        for case in right
        if case.kind == "vendor" and case.pixel_nm and case.found.bar
    ]
    return {
        "images": len(cases),
        "answered": round(len(answered) / len(cases), 4),
        "label_accuracy": round(len(right) / max(len(answered), 1), 4),
        "length_error_median": round(statistics.median(errors.values()), 5) if errors else -1,
        "length_error_max": round(max(errors.values()), 5) if errors else -1,
        "wrong_agreed": sum(case.scale.verdict == "agreed" for case in wrong),
        "wrong_single": sum(case.scale.verdict == "single" for case in wrong),
        "conflict": sum(case.scale.verdict == "conflict" for case in cases),
        "vendor_difference_median": round(statistics.median(differences), 5) if differences else -1,
        "vendor_difference_max": round(max(differences), 5) if differences else -1,
        **{
            kind: " of ".join(
                f"{sum(c.kind == kind for c in of)} {what}"
                for of, what in ((right, "right"), (answered, "answered"), (cases, "images"))
            )
            for kind in dict.fromkeys(case.kind for case in cases)
        },
        "not_answered": "; ".join(case.name for case in cases if not case.found.bar),
        "wrong_label": "; ".join(case.name for case in answered if case not in right),
        "wrong_scale": "; ".join(case.name for case in wrong),
    }


def _same(first: float, second: float) -> bool:
    return abs(first / second - 1) < 1e-6


def _is_wrong(case: Case) -> bool:
    truth = case.pixel_nm
    found = case.scale.pixel_size_nm
    return truth is not None and found is not None and abs(found / truth - 1) > WRONG


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--phantoms", type=int, default=120, help="drawn images")
    options = parser.parse_args()
    cases = [*named_by_label(), *instruments(), *fractures(), *drawn(options.phantoms)]
    command.show(figures(cases), options.json)


if __name__ == "__main__":
    main()
