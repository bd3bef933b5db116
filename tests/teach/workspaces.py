"""Small workspaces with drawn images, ingested as files are."""

from PIL import Image

from micrographia.micrographs.ingest import ingest
from micrographia.workspace import Workspace
from tests.measure.drawn import bars, discs, stripes

RECIPE = "teach:\n  questions: [surfaces, caption, category]\nworkers: 1\n"


def drawn_workspace(folder, copies=2, recipe=RECIPE):
    """A workspace with images of three classes."""
    for i in range(copies):
        drawn = {"stripes": stripes(20 * i), "spots": discs(5 + i, seed=i), "bars": bars(3 + i)}
        for label, image in drawn.items():
            (folder / "images" / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / "images" / label / f"{i}.png")
    workspace = Workspace.create(folder / "lab", recipe)
    ingest(workspace, [folder / "images"])
    return workspace
