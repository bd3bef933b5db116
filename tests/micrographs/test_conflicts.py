"""The pictures of conflicts in a workspace: one an image, drawn once, gone with the conflict."""

import shutil

import pytest
from PIL import Image

from micrographia import phantoms
from micrographia.micrographs import conflicts as module
from micrographia.micrographs.conflicts import draw_conflicts, file_name
from micrographia.micrographs.ingest import ingest
from micrographia.workspace import Workspace, open_workspace
from tests.catalog.records import micrograph
from tests.micrographs.instruments import as_fei


@pytest.fixture(scope="module")
def drawn():
    return [phantoms.draw("Powder", seed, (384, 512), "zeiss") for seed in (5, 6)]


@pytest.fixture(scope="module")
def ingested(drawn, tmp_path_factory):
    """A folder with two contradicting images of one name and one that agrees; what ingest said of them."""
    folder = tmp_path_factory.mktemp("conflicts")
    for name, phantom in zip(("Left", "Right"), drawn, strict=True):
        (folder / "images" / name).mkdir(parents=True)
        as_fei(phantom, folder / "images" / name / "probe.tif", 1.6 * phantom.pixel_size_nm)
    as_fei(drawn[0], folder / "images" / "Left" / "good.tif")
    with open_workspace(Workspace.create(folder / "lab", "workers: 1\n").folder) as workspace:
        return folder, ingest(workspace, [folder / "images"])


@pytest.fixture
def lab(ingested, tmp_path):
    """A copy of the workspace, and the images, which are put back after the test."""
    images = ingested[0] / "images"
    shutil.copytree(images, tmp_path / "kept")
    shutil.copytree(ingested[0] / "lab", tmp_path / "lab")
    with open_workspace(tmp_path / "lab") as workspace:
        yield workspace, images
    shutil.rmtree(images)
    shutil.copytree(tmp_path / "kept", images)


def never(conflict):
    pytest.fail(f"{conflict.name} is drawn again")


def pictures(workspace):
    return sorted(workspace.conflict_folder.iterdir()) if workspace.conflict_folder.is_dir() else []


def test_every_conflict_has_a_picture_and_the_summary_names_their_folder(ingested):
    folder, summary = ingested
    assert summary.conflict_pictures == folder / "lab" / "conflicts"
    assert len(summary.scale_conflicts) == 2 and summary.conflicts_not_drawn == ()
    names = sorted(path.name for path in summary.conflict_pictures.iterdir())
    assert len(names) == 2 and all(name.startswith("probe-") and name.endswith(".png") for name in names)
    for name in names:
        with Image.open(summary.conflict_pictures / name) as picture:
            assert picture.width == 9 * 120


def test_the_bar_is_marked_where_it_was_found(lab, monkeypatch, drawn):
    workspace, _ = lab
    shutil.rmtree(workspace.conflict_folder)
    shown = []
    monkeypatch.setattr(module, "draw_conflict", lambda conflict: shown.append(conflict) or b"")
    assert draw_conflicts(workspace) == (workspace.conflict_folder, ())
    truth = {phantom.databar.bar_left for phantom in drawn}
    assert {conflict.bar.left for conflict in shown} == truth
    assert {conflict.image.shape for conflict in shown} == {(384, 512)}


def test_what_is_drawn_is_not_drawn_again(lab, monkeypatch):
    workspace, images = lab
    before = {path: path.stat().st_mtime_ns for path in pictures(workspace)}
    monkeypatch.setattr(module, "draw_conflict", never)
    ingest(workspace, [images])
    assert {path: path.stat().st_mtime_ns for path in pictures(workspace)} == before and len(before) == 2


def test_a_picture_that_was_taken_away_is_drawn_again(lab):
    workspace, images = lab
    before = pictures(workspace)
    before[0].unlink()
    ingest(workspace, [images])
    assert pictures(workspace) == before


def test_readings_that_changed_are_drawn_anew(lab, tmp_path):
    """A table adds a reading to one of the two: it has another picture, and only one."""
    workspace, images = lab
    before = pictures(workspace)
    table = tmp_path / "scales.csv"
    table.write_text("file,pixel_size_nm\nRight/probe.tif,700\n")
    ingest(workspace, [images], table)
    after = pictures(workspace)
    assert len(after) == 2 and len({*before, *after}) == 3


def test_what_is_no_more_in_conflict_has_no_picture(lab, drawn):
    workspace, images = lab
    before = pictures(workspace)
    (workspace.conflict_folder / "my-notes.png").write_bytes(b"mine")
    (workspace.conflict_folder / f"{before[0].name}.part").write_bytes(b"of a run that was killed")
    as_fei(drawn[0], images / "Left" / "probe.tif")
    summary = ingest(workspace, [images])
    left = pictures(workspace)
    assert len(summary.scale_conflicts) == 1 and len({*left} & {*before}) == 1
    assert {path.name for path in left} - {path.name for path in before} == {"my-notes.png"}
    (images / "Right" / "probe.tif").unlink()
    (workspace.conflict_folder / "my-notes.png").unlink()
    summary = ingest(workspace, [images])
    assert summary.conflict_pictures is None
    assert not workspace.conflict_folder.exists()


def test_a_picture_that_cannot_be_drawn_stops_nothing(lab, monkeypatch):
    workspace, images = lab
    shutil.rmtree(workspace.conflict_folder)
    draw, seen = module.draw_conflict, []

    def fail_first(conflict):
        seen.append(conflict.name)
        return draw(conflict) if len(seen) > 1 else 1 / 0

    monkeypatch.setattr(module, "draw_conflict", fail_first)
    summary = ingest(workspace, [images])
    assert len(pictures(workspace)) == 1 and summary.conflict_pictures == workspace.conflict_folder
    assert summary.conflicts_not_drawn == ("probe.tif: unexpected ZeroDivisionError: division by zero",)
    assert len(summary.scale_conflicts) == 2


def test_a_file_in_the_place_of_the_folder_stops_nothing(lab):
    workspace, images = lab
    shutil.rmtree(workspace.conflict_folder)
    workspace.conflict_folder.write_text("a note")
    summary = ingest(workspace, [images])
    assert summary.conflict_pictures is None and len(summary.conflicts_not_drawn) == 2
    assert workspace.conflict_folder.read_text() == "a note"


@pytest.mark.parametrize("name", ["../../up.tif", "..", "/etc/passwd", "a b:c*.tif", "x" * 400, "\ud800.tif"])
def test_no_name_leads_out_of_the_folder(name):
    named = file_name(micrograph(1).model_copy(update={"name": name}))
    assert "/" not in named and len(named.encode()) < 200 and named.endswith(".png")


def test_names_are_those_of_the_files_and_never_the_same():
    one, other = (file_name(micrograph(k).model_copy(update={"name": "a.tif"})) for k in (1, 2))
    assert one.startswith("a-") and other.startswith("a-") and one != other
