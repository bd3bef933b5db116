"""Files named by the sha256 of their content, on any file system that fsspec knows."""

from __future__ import annotations

import hashlib
import uuid

import fsspec

from micrographia.errors import WorkspaceError


class Objects:
    """A folder of immutable files. An object is there whole or not at all."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)

    def put(self, content: bytes) -> str:
        """Keep ``content`` and return its id; what is there already is not written again."""
        identity = hashlib.sha256(content).hexdigest()
        path = self._path(identity)
        if not self._files.exists(path):
            # Written beside its place and moved there, so that a killed run leaves no half object.
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            draft = f"{path}.{uuid.uuid4().hex}.part"
            self._files.pipe_file(draft, content)
            self._files.mv(draft, path)
        return identity

    def get(self, identity: str) -> bytes:
        """The content of the object. Raises WorkspaceError where it is missing."""
        try:
            content: bytes = self._files.cat_file(self._path(identity))
        except FileNotFoundError:
            raise WorkspaceError(
                f"object {identity[:12]} is missing from {self._root}", "ingest the original file again"
            ) from None
        return content

    def __contains__(self, identity: str) -> bool:
        return bool(self._files.exists(self._path(identity)))

    def _path(self, identity: str) -> str:
        if len(identity) != 64 or not set(identity) <= set("0123456789abcdef"):
            raise ValueError(f"{identity!r} is not a sha256")
        return f"{self._root}/{identity[:2]}/{identity[2:]}"
