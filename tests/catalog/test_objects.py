"""Objects are named by their content, and are there whole or not at all."""

import hashlib

import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from micrographia.catalog.objects import Objects
from micrographia.errors import WorkspaceError

CONTENT = b"a micrograph"
ID = hashlib.sha256(CONTENT).hexdigest()


def files_below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def objects(tmp_path):
    return Objects(str(tmp_path))


def test_content_comes_back_under_its_sha256(objects, tmp_path):
    assert objects.put(CONTENT) == ID
    assert objects.get(ID) == CONTENT
    assert ID in objects
    assert files_below(tmp_path) == [f"{ID[:2]}/{ID[2:]}"]


@given(contents=st.lists(st.binary(max_size=100), max_size=5))
def test_any_bytes_come_back(contents):
    objects = Objects("memory://any")
    identities = [objects.put(content) for content in contents]
    assert [objects.get(identity) for identity in identities] == contents


def test_what_is_there_is_not_written_again(objects, tmp_path):
    objects.put(CONTENT)
    (path,) = (p for p in tmp_path.rglob("*") if p.is_file())
    before = path.stat()
    assert objects.put(CONTENT) == ID
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_missing_object_says_what_to_do(objects):
    assert ID not in objects
    with pytest.raises(WorkspaceError, match=f"{ID[:12]} is missing.*ingest the original file again"):
        objects.get(ID)


def test_a_write_that_was_cut_off_leaves_no_object(objects, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalFileSystem, "mv", killed)
    with pytest.raises(KeyboardInterrupt):
        objects.put(CONTENT)
    assert [name.endswith(".part") for name in files_below(tmp_path)] == [True]
    assert ID not in objects

    monkeypatch.undo()
    assert objects.put(CONTENT) == ID
    assert objects.get(ID) == CONTENT
    assert len(files_below(tmp_path)) == 2


@pytest.mark.parametrize("wrong", ["", ID[:-1], ID + "0", ID.upper(), "../" + ID[3:], ID[:2] + "/" + ID[3:]])
def test_only_a_sha256_becomes_a_path(objects, wrong):
    with pytest.raises(ValueError, match="is not a sha256"):
        objects.get(wrong)
    with pytest.raises(ValueError, match="is not a sha256"):
        assert wrong not in objects
