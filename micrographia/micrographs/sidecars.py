"""Text files that some instruments leave beside their images (``vendors/``): which belongs to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from micrographia.micrographs.vendors import LONGEST_SIDECAR, is_sidecar, sidecar_names
from micrographia.micrographs.walk import Found, readable

SUFFIXES = {".txt", ".hdr", ".emi"}


def with_sidecars(found: Sequence[Found]) -> tuple[list[Found], dict[str, tuple[bytes, ...]]]:
    """The files, texts that belong to an image excused, and those texts by the path of the image."""
    texts = {(file.path.parent, file.path.name.lower()): file for file in found if _may_be_text(file)}
    belongs: dict[str, tuple[bytes, ...]] = {}
    used: dict[str, str] = {}
    for image in found if texts else ():
        beside = [texts.get((image.path.parent, name)) for name in sidecar_names(image.path.name)]
        if image.path.suffix.lower() in SUFFIXES:
            continue
        contents = [(file, _content(file.path)) for file in beside if file is not None]
        told = [(file, content) for file, content in contents if is_sidecar(content)]
        if told:
            belongs[image.text] = tuple(content for _, content in told)
            used |= {file.text: readable(image.path.name) for file, _ in told}
    excused = [
        replace(file, excuse=f"read with {used[file.text]}") if file.text in used else file for file in found
    ]
    return excused, belongs


def sidecar_texts(image: Path) -> tuple[bytes, ...]:
    """The texts that belong to one image, which no folder was walked for."""
    try:
        beside = {
            path.name.lower(): path for path in image.parent.iterdir() if path.suffix.lower() in SUFFIXES
        }
    except OSError:
        return ()
    contents = (_content(beside[name]) for name in sidecar_names(image.name) if name in beside)
    return tuple(content for content in contents if is_sidecar(content))


def _may_be_text(file: Found) -> bool:
    right = file.path.suffix.lower() in SUFFIXES and not file.excuse and not file.fault
    return right and file.size_bytes <= LONGEST_SIDECAR


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
