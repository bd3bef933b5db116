"""Write drawn micrographs as a lab would keep them: a folder a class, a table of labels, and the truth."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from micrographia.engine import SILENT, Progress
from micrographia.phantoms.databar import LOOKS
from micrographia.phantoms.picture import CATEGORIES, VARIETIES, draw
from micrographia.phantoms.truth import Phantom
from micrographia.records import Quantity

IMAGES_PER_SPECIMEN = 3
"""So many images share a specimen, and with it a ``group``: splits by group then mean something."""

MOST_PER_CLASS = 100_000
"""Seeds are counted from ``seed`` times this, so that no two seeds share an image."""

LABELS, TRUTH = "labels.csv", "truth.jsonl"
COLUMNS = (
    "file",
    "label",
    "group",
    "caption",
    "pixel_size_nm",
    "technique",
    "detector",
    "accelerating_voltage_kv",
    "working_distance_mm",
    "magnification",
)


def write(
    folder: Path,
    per_class: int,
    seed: int = 0,
    size: tuple[int, int] = (512, 512),
    databars: bool = True,
    progress: Progress = SILENT,
) -> Path:
    """``per_class`` images of every category as PNG in ``folder``, with ``labels.csv`` and ``truth.jsonl``.

    What is there already and was drawn with the same arguments is kept, so that a run which was stopped
    goes on; the files are the same in the end. Returns the path of the table of labels, which is written
    last. Raises RecipeError for a size that is too small, before anything is drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = _done(folder)
    _write_truth(folder, list(done.values()))
    progress.begin("Drawing micrographs", total=per_class * len(CATEGORIES), unit="images")
    lines: list[dict[str, Any]] = []
    for order in _orders(per_class, seed, size, databars):
        line = done.get(json.dumps(order))
        if line is None or not (folder / line["file"]).is_file():
            line = _draw(folder, order)
            with (folder / TRUTH).open("a", encoding="utf-8") as truth:
                truth.write(json.dumps(line, ensure_ascii=False) + "\n")
        lines.append(line)
        progress.advance(1, line["file"])
    progress.end()
    _write_truth(folder, lines)
    return _write_labels(folder, lines)


def _orders(per_class: int, seed: int, size: tuple[int, int], databars: bool) -> Iterator[dict[str, Any]]:
    """The arguments of every image, class by class; the varieties of a class take turns by specimen."""
    for number, category in enumerate(CATEGORIES):
        kinds = VARIETIES[category]
        for k in range(per_class):
            specimen = seed * MOST_PER_CLASS + k // IMAGES_PER_SPECIMEN
            style = np.random.default_rng([specimen, number]).choice(list(LOOKS))
            yield {
                "category": category,
                "seed": seed * MOST_PER_CLASS + k,
                "size": list(size),
                "databar": str(style) if databars else None,
                "specimen": specimen,
                "variety": kinds[k // IMAGES_PER_SPECIMEN % len(kinds)].name,
            }


def _draw(folder: Path, order: dict[str, Any]) -> dict[str, Any]:
    """Draw and save one image; its line of truth."""
    phantom = draw(**{**order, "size": tuple(order["size"])})
    slug = phantom.category.lower().replace(" ", "-")
    name = f"{phantom.category}/{slug}-{phantom.seed % MOST_PER_CLASS:05d}.png"
    (folder / phantom.category).mkdir(exist_ok=True)
    encoded = io.BytesIO()
    Image.fromarray(phantom.image).save(encoded, "PNG", compress_level=6)
    _replace(folder / name, encoded.getvalue())
    return {"file": name, "drawn": order, **_line(phantom, slug)}


def _line(phantom: Phantom, slug: str) -> dict[str, Any]:
    """Everything true of a phantom but its pixels, ready for JSON."""
    return {
        "label": phantom.category,
        "group": f"{slug}-specimen-{phantom.specimen % MOST_PER_CLASS:05d}",
        "caption": phantom.caption,
        "pixel_size_nm": phantom.pixel_size_nm,
        "instrument": phantom.instrument.model_dump(exclude_none=True),
        "truth": phantom.truth.model_dump(exclude_none=True),
        "databar": phantom.databar.model_dump() if phantom.databar else None,
    }


def _done(folder: Path) -> dict[str, dict[str, Any]]:
    """Lines of truth from an earlier run by the arguments of their images; a torn last line is dropped."""
    if not (folder / TRUTH).is_file():
        return {}
    done = {}
    for text in (folder / TRUTH).read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        done[json.dumps(line["drawn"])] = line
    return done


def _write_truth(folder: Path, lines: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    _replace(folder / TRUTH, text.encode("utf-8"))


def _write_labels(folder: Path, lines: list[dict[str, Any]]) -> Path:
    table = io.StringIO()
    rows = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for line in lines:
        instrument = line["instrument"]
        rows.writerow(
            {
                **{name: line[name] for name in ("file", "label", "group", "caption", "pixel_size_nm")},
                "technique": instrument["technique"],
                "detector": instrument["detector"],
                "accelerating_voltage_kv": Quantity(**instrument["accelerating_voltage"]).value,
                "working_distance_mm": Quantity(**instrument["working_distance"]).value,
                "magnification": instrument["magnification"],
            }
        )
    _replace(folder / LABELS, table.getvalue().encode("utf-8"))
    return folder / LABELS


def _replace(path: Path, content: bytes) -> None:
    """Write beside and rename, so that a file is either whole or not there."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    beside.replace(path)
