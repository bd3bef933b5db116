"""A damaged catalogue is told by its file. A worker process loads the module on its way to the images, and
should not wait for it."""

import subprocess
import sys

import psutil
import pytest

from micrographia.catalog import Catalog
from micrographia.errors import WorkspaceError

IN_WORKERS = [
    "micrographia.micrographs.ingest",
    "micrographia.micrographs.display",
    "micrographia.measure.run",
    "micrographia.assistant.reading",
]
"""Where the functions stand that stages hand to worker processes."""


def loaded(program):
    """Which of the slow packages are there after ``program``, in a process of its own."""
    report = "print([m for m in ('alembic', 'torch', 'transformers') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\n{report}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", IN_WORKERS)
def test_a_worker_loads_nothing_that_is_slow(module):
    assert loaded(f"import {module}") == "[]"


def test_who_opens_a_catalogue_has_alembic():
    """Or the test above would hold for a package by another name."""
    program = "from micrographia.catalog import Catalog\nCatalog('sqlite://').close()"
    assert loaded(program) == "['alembic']"


PAGE = 4096


def spoiled(path, whole=2):
    """Every page but the first ones. With two of them it opens, and can then not be read."""
    Catalog(f"sqlite:///{path}").close()
    content = path.read_bytes()
    path.write_bytes(content[: whole * PAGE].ljust(len(content), b"\xff"))
    return f"sqlite:///{path}"


def no_database(path):
    path.write_bytes(b"certainly not a database" * PAGE)
    return f"sqlite:///{path}"


def truncated(path):
    Catalog(f"sqlite:///{path}").close()
    path.write_bytes(path.read_bytes()[: 3 * PAGE])
    return f"sqlite:///{path}"


@pytest.mark.parametrize("damage", [no_database, truncated, spoiled])
def test_a_damaged_catalogue_is_named_with_what_to_do(tmp_path, damage):
    path = tmp_path / "catalog.sqlite"
    url = damage(path)
    before = path.read_bytes()
    with pytest.raises(WorkspaceError) as caught:
        Catalog(url).sources()
    assert caught.value.what == f"the catalogue {path} cannot be opened"
    assert "damaged or not a database" in caught.value.remedy
    assert "put back a copy" in caught.value.remedy and "`micrographia ingest`" in caught.value.remedy
    assert path.read_bytes() == before


def test_a_catalogue_that_was_refused_can_be_moved_away(tmp_path):
    with pytest.raises(WorkspaceError) as caught:
        Catalog(spoiled(tmp_path / "catalog.sqlite", whole=1))
    assert caught.tb  # its frames keep the engine alive
    assert not [f for f in psutil.Process().open_files() if f.path.startswith(str(tmp_path))]


def test_other_faults_of_a_database_are_no_damage(tmp_path):
    with pytest.raises(WorkspaceError, match="unable to open database file") as caught:
        Catalog(f"sqlite:///{tmp_path}")
    assert "damaged" not in str(caught.value)
