"""A workspace with a student that was tuned for a few steps."""

import shutil

import pytest

from micrographia.assistant import Assistant
from micrographia.micrographs.ingest import ingest
from micrographia.teach.generate import teach
from micrographia.tune.train import tune
from micrographia.workspace import Workspace, open_workspace
from tests.tune.small import RECIPE, draw_classes


@pytest.fixture(scope="package")
def tuned(tmp_path_factory):
    """The folder of a workspace with a student; copy it to change it."""
    folder = tmp_path_factory.mktemp("tuned")
    workspace = Workspace.create(folder / "lab", RECIPE + "evaluate: {questions_per_image: 3}\n")
    ingest(workspace, [draw_classes(folder / "images", each=8)])
    teach(workspace)
    tune(workspace)
    workspace.close()
    return workspace.folder


@pytest.fixture
def lab(tuned, tmp_path):
    """A copy of that folder to change."""
    shutil.copytree(tuned, tmp_path / "lab")
    return tmp_path / "lab"


@pytest.fixture
def workspace(lab):
    with open_workspace(lab) as opened:
        yield opened


@pytest.fixture(scope="package")
def assistant(tuned):
    return Assistant.load(tuned / "students" / "small")
