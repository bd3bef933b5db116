"""What instruments write beside the pixels: one file a maker, all speaking the same words.

``read_header`` asks whoever recognises the file; ``read_sidecar`` reads the text file that some instruments
leave beside the image. A reader never guesses: what it could not read stands in ``missing``.
"""

from micrographia.micrographs.vendors.read import (
    LONGEST_SIDECAR,
    is_sidecar,
    read_header,
    read_sidecar,
    sidecar_names,
)
from micrographia.micrographs.vendors.tags import HeaderReading

__all__ = ["LONGEST_SIDECAR", "HeaderReading", "is_sidecar", "read_header", "read_sidecar", "sidecar_names"]
