"""Folders that a recipe names are told by what lies in them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from micrographia.tune.given import DIGESTS, digest_of_given
from micrographia.workspace import Workspace, open_workspace

ROUNDS = 300
"""In each of which a file looks as if it had changed, so that its digest is taken and kept anew."""


@pytest.fixture
def lab(tmp_path):
    """A workspace with a model of its own."""
    workspace = Workspace.create(tmp_path / "lab", "tune: {family: hub, start_from: model}")
    (workspace.folder / "model").mkdir()
    (workspace.folder / "model" / "config.json").write_text("{}")
    yield workspace
    workspace.close()


def test_the_digest_is_that_of_the_content(lab):
    before = digest_of_given(lab)
    assert digest_of_given(lab) == before
    (lab.folder / "model" / "config.json").write_text("{ }")
    assert digest_of_given(lab) != before


def take_again_and_again(folder):
    """What each of the processes does."""
    with open_workspace(Path(folder)) as workspace:
        for i in range(ROUNDS):
            os.utime(workspace.folder / "model" / "config.json", ns=(i, os.getpid() * ROUNDS + i))
            digest_of_given(workspace)


def test_processes_that_start_together_do_not_take_each_others_drafts(lab):
    command = f"from {__name__} import take_again_and_again as take; take({str(lab.folder)!r})"
    both = [subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.PIPE) for _ in range(2)]
    said = [one.communicate(timeout=60)[1].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert [path.name for path in (lab.folder / "cache").iterdir()] == [DIGESTS]
