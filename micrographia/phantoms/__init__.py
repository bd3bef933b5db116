"""Drawn micrographs of the ten categories, with exact truth.

A family of shapes draws a height map (``scene``, ``solids``, ``fields``), ``imaging`` looks at it as an
electron microscope does, ``databar`` adds the maker's strip, and ``truth`` holds what is exactly known.
"""

from micrographia.phantoms.picture import CATEGORIES, VARIETIES, draw
from micrographia.phantoms.sheet import contact_sheet
from micrographia.phantoms.truth import DatabarTruth, ObjectTruth, Phantom, Truth
from micrographia.phantoms.write import IMAGES_PER_SPECIMEN, write

__all__ = [
    "CATEGORIES",
    "IMAGES_PER_SPECIMEN",
    "VARIETIES",
    "DatabarTruth",
    "ObjectTruth",
    "Phantom",
    "Truth",
    "contact_sheet",
    "draw",
    "write",
]
