"""Which files are meant: folders in a fixed order, nothing hidden, nothing beyond the folder given."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from micrographia.errors import RecipeError


@dataclass(frozen=True)
class Found:
    """A file that was met. Where that is so, ``excuse`` says why it is not to be opened, and ``fault`` why
    it, or the folder that it is, cannot be."""

    path: Path
    root: Path
    """The folder that was asked for."""
    size_bytes: int
    modified_ns: int
    excuse: str | None = None
    fault: str | None = None

    @property
    def text(self) -> str:
        """The path for records and people; bytes that are no UTF-8 are written as escapes."""
        return readable(self.path)

    @property
    def folder(self) -> str | None:
        """The name of the folder it lies in; None directly in the root."""
        return None if self.path.parent == self.root else composed(readable(self.path.parent.name))


def readable(path: Path | str) -> str:
    """A path as text that any database and terminal takes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def composed(words: str) -> str:
    """With letters composed (NFC): some systems store é as e and an accent."""
    return unicodedata.normalize("NFC", words)


def find_files(paths: Sequence[Path], leave_out: Sequence[Path] = ()) -> list[Found]:
    """Every file at or below ``paths``, each once. Raises ``RecipeError`` for a path that is not there."""
    left_out = {path.resolve() for path in leave_out}
    found: dict[Path, Found] = {}
    for path in paths:
        if not path.exists():
            raise RecipeError(f"there is no file or folder {path}", "check the path")
        whole = path.resolve()
        files = _below(whole, whole, left_out) if whole.is_dir() else [_found(whole, whole.parent)]
        for file in files:
            found.setdefault(file.path, file)
    return list(found.values())


def _below(folder: Path, root: Path, left_out: set[Path]) -> Iterator[Found]:
    if folder in left_out:
        return
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        yield Found(folder, root, 0, 0, fault=f"the folder cannot be listed ({error.strerror})")
        return
    for path in paths:
        if path in left_out:
            continue
        if _is_folder(path):
            if not path.name.startswith("."):
                yield from _below(path, root, left_out)
        else:
            yield _found(path, root)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink()
    except OSError:  # the folder around it may be listed and not entered
        return False


def _found(path: Path, root: Path) -> Found:
    try:
        about = path.stat()
    except OSError as error:
        return Found(path, root, 0, 0, fault=f"cannot be reached ({error.strerror})")
    return Found(path, root, about.st_size, about.st_mtime_ns, _excuse(path, root, about.st_mode))


def _excuse(path: Path, root: Path, mode: int) -> str | None:
    if path.name.startswith("."):
        return "hidden"
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        return "a link that leads out of the folder"
    if stat.S_ISDIR(mode):
        return "a link to a folder"
    return None if stat.S_ISREG(mode) else "not a regular file"
