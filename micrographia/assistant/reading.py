"""One file of a screened folder: its image and what is measured on it. Runs in processes without torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micrographia.errors import UnreadableFile
from micrographia.measure import measure_image
from micrographia.micrographs.limits import Limits
from micrographia.micrographs.picture import picture_of
from micrographia.micrographs.read import load
from micrographia.micrographs.sidecars import sidecar_texts
from micrographia.micrographs.walk import Found, readable
from micrographia.records import Measurement


@dataclass(frozen=True)
class Reading:
    """A file's bytes, named by their sha256, and the field of their image; or why they are none."""

    sha256: str
    image: NDArray[np.uint8] | None = None
    measurements: tuple[Measurement, ...] = ()
    error: str | None = None


def read(file: Found, limits: Limits) -> Reading:
    """Decode and measure. Raises UnreadableFile where there are no bytes to be had."""
    data = load(file.path, limits)
    digest = hashlib.sha256(data).hexdigest()
    try:
        picture = picture_of(data, readable(file.path.name), sidecar_texts(file.path), limits)
    except UnreadableFile as error:
        return Reading(digest, error=str(error))
    return Reading(digest, picture.field, measure_image(picture.field))
