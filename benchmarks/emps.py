"""Particles in 366 real electron micrographs of papers (EMPS), against outlines drawn by hand.

    python -m benchmarks.emps [--json] [--part report|tune] [--images N]

Everything was tuned on 100 of them (``--part tune``); figures are of the other 266. For each image: the
count and the median equivalent diameter, against those of the hand-drawn outlines, over all particles in
view. Errors are medians of relative errors over the images answered. The naive baseline answers every image:
Otsu's threshold, dark or bright by the border, distance transform, peaks as seeds of a watershed.
``images_per_second`` is on one core.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from benchmarks import command
from micrographia.measure.segment import segment
from micrographia.micrographs.display import grey_of
from micrographia.micrographs.picture import open_picture

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "emps"
TUNED_ON = 100


def parts(folder: Path) -> dict[str, list[Path]]:
    """Images to tune on and to report on, parted by the sha256 of their names."""
    images = sorted(
        (folder / "images").glob("*.jpg"), key=lambda path: hashlib.sha256(path.name.encode()).hexdigest()
    )
    return {"tune": images[:TUNED_ON], "report": images[TUNED_ON:]}


def count_and_diameter(labels: NDArray[np.integer]) -> tuple[int, float]:
    """Objects, and their median equivalent diameter in pixels; 0 where there is none."""
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    return areas.size, float(np.median(2 * np.sqrt(areas / np.pi))) if areas.size else 0.0


def naive(grey: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The baseline."""
    bright = grey > threshold_otsu(grey)
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    inside = ~bright if border.mean() > 0.5 else bright
    distance = ndimage.distance_transform_edt(inside)
    peaks = peak_local_max(distance, min_distance=5, labels=ndimage.label(inside)[0])
    seeds = np.zeros(grey.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-distance, seeds, mask=inside), np.int32)


def errors(found: Sequence[tuple[int, float]], truth: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Medians of the relative errors of count and diameter."""
    counts = [abs(f[0] - t[0]) / t[0] for f, t in zip(found, truth, strict=True)]
    diameters = [abs(f[1] - t[1]) / t[1] for f, t in zip(found, truth, strict=True)]
    return (float(np.median(counts)), float(np.median(diameters))) if counts else (-1.0, -1.0)


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--part", choices=("report", "tune"), default="report")
    parser.add_argument("--images", type=int, help="only so many")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    found, baseline, truth, trusted, seconds = [], [], [], [], 0.0
    for path in parts(FOLDER)[options.part][: options.images]:
        outlines = np.asarray(Image.open(FOLDER / "masks" / f"{path.stem}.png"))
        picture = open_picture(path)
        grey = grey_of(picture.field)
        begin = time.perf_counter()
        segmentation = segment(grey)
        seconds += time.perf_counter() - begin
        found.append(count_and_diameter(segmentation.labels))
        trusted.append(segmentation.trusted and found[-1][0] > 0)
        baseline.append(count_and_diameter(naive(grey)))
        truth.append(count_and_diameter(outlines[: grey.shape[0]]))
    kept = [k for k, is_trusted in enumerate(trusted) if is_trusted]
    of = [truth[k] for k in kept]
    ours, theirs = errors([found[k] for k in kept], of), errors([baseline[k] for k in kept], of)
    everything, naive_everything = errors(found, truth), errors(baseline, truth)
    command.show(
        {
            "images": len(truth),
            "answered": round(len(kept) / len(truth), 4),
            "count_error": round(ours[0], 4),
            "diameter_error": round(ours[1], 4),
            "naive_count_error": round(naive_everything[0], 4),
            "naive_diameter_error": round(naive_everything[1], 4),
            "naive_count_error_of_answered": round(theirs[0], 4),
            "naive_diameter_error_of_answered": round(theirs[1], 4),
            "count_error_if_all_were_answered": round(everything[0], 4),
            "diameter_error_if_all_were_answered": round(everything[1], 4),
            "images_per_second": round(len(truth) / seconds, 3),
        },
        options.json,
    )


if __name__ == "__main__":
    main()
