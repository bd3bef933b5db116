"""A workspace of drawn micrographs that have been taught."""

import pytest

from micrographia.micrographs.ingest import ingest
from micrographia.teach.generate import teach
from micrographia.workspace import Workspace
from tests.tune.small import RECIPE, draw_classes


@pytest.fixture(scope="package")
def taught(tmp_path_factory):
    """The folder of a workspace of drawn micrographs that have been taught; copy it to change it."""
    folder = tmp_path_factory.mktemp("taught")
    workspace = Workspace.create(folder / "lab", RECIPE)
    ingest(workspace, [draw_classes(folder / "images", each=8)])
    teach(workspace)
    workspace.close()
    return workspace.folder
