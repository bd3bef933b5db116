"""A worker process loads the catalogue's module on its way to the images, and should not wait for it."""

import subprocess
import sys

import pytest

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
