"""The measuring stage measures what is missing, once, and says what it could not."""

import pytest

from micrographia.errors import WorkLeftOut
from micrographia.measure import METHOD_VERSION, measure_image, run
from micrographia.measure.run import measure
from tests.measure.drawn import bars
from tests.teach.workspaces import drawn_workspace


def test_every_image_is_measured_once_and_as_the_image_itself(tmp_path):
    workspace = drawn_workspace(tmp_path)
    assert measure(workspace) == 6
    kept = workspace.catalog.measurements(METHOD_VERSION)
    by_name = {f"{m.label}/{m.name}": kept[m.id] for m in workspace.catalog.micrographs()}
    assert by_name["bars/0.png"] == measure_image(bars(3))
    assert measure(workspace) == 0
    assert workspace.catalog.measurements(METHOD_VERSION) == kept


def test_processes_measure_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "WORTH_A_WORKER", 1)
    alone, together = (drawn_workspace(tmp_path / name, copies=1) for name in ("alone", "together"))
    together.recipe = together.recipe.model_copy(update={"workers": 2})
    measure(alone)
    measure(together)
    assert alone.catalog.measurements(METHOD_VERSION) == together.catalog.measurements(METHOD_VERSION)


def test_a_lost_object_is_named_and_the_rest_is_measured(tmp_path):
    workspace = drawn_workspace(tmp_path)
    lost = workspace.catalog.micrographs()[2]
    (workspace.folder / "objects" / lost.id[:2] / lost.id[2:]).unlink()
    with pytest.raises(WorkLeftOut, match=f"1 images could not be measured.*{lost.name}"):
        measure(workspace)
    assert lost.id not in workspace.catalog.measurements(METHOD_VERSION)
    assert len(workspace.catalog.measurements(METHOD_VERSION)) == 5
