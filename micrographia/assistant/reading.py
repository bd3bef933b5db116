"""One file of a screened folder: its image and what is measured on it. Runs in processes without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micrographia.errors import UnreadableFile
from micrographia.measure import measure_image
from micrographia.micrographs.display import to_display
from micrographia.micrographs.limits import Limits
from micrographia.micrographs.read import decode, load
from micrographia.micrographs.walk import Found, readable
from micrographia.records import Measurement


@dataclass(frozen=True)
class Reading:
    """A file's bytes, named by their sha256, and their display image; or why they are none."""

    sha256: str
    image: NDArray[np.uint8] | None = None
    measurements: tuple[Measurement, ...] = ()
    error: str | None = None


def read(file: Found, limits: Limits) -> Reading:
    """Decode and measure. Raises UnreadableFile where there are no bytes to be had."""
    data = load(file.path, limits)
    digest = hashlib.sha256(data).hexdigest()
    try:
        image, _ = to_display(decode(data, limits, readable(file.path.name)).pixels)
    except UnreadableFile as error:
        return Reading(digest, error=str(error))
    return Reading(digest, image, measure_image(image))
