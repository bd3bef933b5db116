"""Folders into the catalogue: nothing lost, nothing twice, nothing stops it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from micrographia.engine import Silent
from micrographia.errors import RecipeError
from micrographia.micrographs import ingest as module
from micrographia.micrographs.display import open_display
from micrographia.micrographs.ingest import arrange, ingest
from micrographia.workspace import Workspace, open_workspace
from tests.micrographs import files

RECIPE = "workers: 1\n"


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.create(tmp_path / "lab", RECIPE)
    yield made
    made.close()


def draw(folder, classes=("Fibres", "Tips"), each=4, seed=0):
    """A folder a class, of images that are no duplicates of each other."""
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            data = files.png(files.texture(96, 96, seed + 1000 * number + i))
            (folder / name / f"specimen{i // 2}_{i}.png").write_bytes(data)
    return folder


def never(file, objects, limits):
    pytest.fail(f"{file.path} is read again")


def refuse(*_):
    raise PermissionError(13, "Permission denied")


def base(source):
    return Path(source.path).name


def content(workspace):
    """Everything that ingest writes, without the numbering of rows."""
    catalog = workspace.catalog
    return catalog.micrographs(), catalog.sources(), catalog.clusters(), catalog.parts()


def test_folder_names_are_classes(tmp_path, workspace):
    draw(tmp_path / "images")
    (tmp_path / "images" / "loose.png").write_bytes(files.png(files.texture(seed=7)))
    summary = ingest(workspace, [tmp_path / "images"])
    assert (summary.taken, summary.unchanged, summary.refused, summary.skipped) == (9, 0, (), ())
    assert workspace.catalog.labels() == ["Fibres", "Tips"]
    labels = {m.name: m.label for m in workspace.catalog.micrographs()}
    assert labels["loose.png"] is None
    assert set(workspace.catalog.parts().values()) == {"train", "validation", "test"}


def test_what_is_recorded_is_what_is_in_the_file(tmp_path, workspace):
    (tmp_path / "deep.tif").write_bytes(files.KINDS["lzw16.tif"]())
    ingest(workspace, [tmp_path / "deep.tif"])
    (m,) = workspace.catalog.micrographs()
    assert (m.name, m.format, m.width, m.height, m.bits, m.channels) == ("deep.tif", "TIFF", 80, 60, 16, 1)
    assert m.display.low_percentile == 0.1
    assert workspace.objects.get(m.id) == files.KINDS["lzw16.tif"]()
    shown = open_display(workspace.objects, m)
    assert shown.shape == (60, 80)
    assert np.corrcoef(shown.ravel(), files.texture().ravel())[0, 1] > 0.999


def test_a_second_run_reads_nothing_and_changes_nothing(tmp_path, workspace, monkeypatch):
    images = draw(tmp_path / "images")
    (images / "notes.txt").write_text("tilted by 52 degrees")
    ingest(workspace, [images])
    before = content(workspace)
    monkeypatch.setattr("micrographia.micrographs.ingest.read_file", never)
    again = ingest(workspace, [images])
    assert (again.taken, again.unchanged, len(again.skipped)) == (0, 8, 1)
    assert content(workspace) == before


def test_a_refused_file_is_tried_again(tmp_path, workspace, monkeypatch):
    """What hindered reading may lie outside of the file: permissions, memory, a limit."""
    images = draw(tmp_path / "images", each=1)
    with monkeypatch.context() as patched:
        patched.setattr(module, "load", refuse)
        assert len(ingest(workspace, [images]).refused) == 2
    again = ingest(workspace, [images])
    assert (again.taken, again.refused, again.micrographs) == (2, (), 2)


def test_what_was_stopped_before_the_division_is_ended_without_the_files(tmp_path, workspace, monkeypatch):
    images = draw(tmp_path / "images")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "arrange", interrupt)
        ingest(workspace, [images])
    assert workspace.catalog.parts() == {}
    arrange(workspace)
    before = content(workspace)
    arrange(workspace)
    ingest(workspace, [images])
    assert content(workspace) == before and len(workspace.catalog.parts()) == 8


def interrupt(*_):
    raise KeyboardInterrupt


def test_what_a_table_told_holds_until_another_comes(tmp_path, workspace):
    images = draw(tmp_path / "images", classes=("Tips",))
    table = tmp_path / "labels.csv"
    table.write_text("file,label,group\nspecimen0_0.png,probe,A\nspecimen0_1.png,probe,A\n")
    ingest(workspace, [images], table)
    before = content(workspace)
    assert workspace.catalog.labels() == ["Tips", "probe"]
    ingest(workspace, [images])
    assert content(workspace) == before
    table.write_text("file,label\nspecimen0_0.png,cantilever\n")
    ingest(workspace, [images], table)
    assert workspace.catalog.labels() == ["Tips", "cantilever"]
    assert {m.group for m in workspace.catalog.micrographs()} == {None}


def test_a_renamed_class_folder_is_another_class(tmp_path, workspace):
    images = draw(tmp_path / "images")
    ingest(workspace, [images])
    parts = workspace.catalog.parts()
    (images / "Tips").rename(images / "AFM tips")
    summary = ingest(workspace, [images])
    assert (summary.gone, summary.micrographs, summary.label_conflicts) == (4, 8, ())
    assert workspace.catalog.labels() == ["AFM tips", "Fibres"]
    assert workspace.catalog.parts() == parts
    assert ingest(workspace, [images]).gone == 0


def test_an_image_that_was_taken_away_no_longer_counts_until_it_is_back(tmp_path, workspace):
    images = draw(tmp_path / "images")
    ingest(workspace, [images])
    before = workspace.catalog.micrographs()
    (images / "Tips").rename(tmp_path / "Tips")
    assert (ingest(workspace, [images]).micrographs, workspace.catalog.labels()) == (4, ["Fibres"])
    (tmp_path / "Tips").rename(images / "Tips")
    summary = ingest(workspace, [images])
    assert (summary.taken, summary.gone) == (4, 0)
    assert workspace.catalog.micrographs() == before


def test_a_table_that_was_met_as_a_file_is_not_gone(tmp_path, workspace):
    images = draw(tmp_path / "images", each=1)
    table = images / "labels.csv"
    table.write_text("file,label\nspecimen0_0.png,probe\n".replace("spec", "Tips/spec"))
    assert len(ingest(workspace, [images]).skipped) == 1
    assert ingest(workspace, [images], table).gone == 0


def test_what_lies_elsewhere_or_cannot_be_listed_is_not_gone(tmp_path, workspace, monkeypatch):
    images = draw(tmp_path / "images")
    ingest(workspace, [images])
    assert ingest(workspace, [images / "Tips"]).gone == 0
    listed = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda self: refuse() if self.name == "Tips" else listed(self))
    assert ingest(workspace, [images]).gone == 0
    assert len(workspace.catalog.micrographs()) == 8


def test_a_changed_file_is_read_again(tmp_path, workspace):
    images = draw(tmp_path / "images", each=1)
    ingest(workspace, [images])
    changed = images / "Tips" / "specimen0_0.png"
    changed.write_bytes(files.png(files.texture(96, 96, seed=77)))
    summary = ingest(workspace, [images])
    assert (summary.taken, summary.unchanged, summary.micrographs) == (1, 1, 2)
    changed.write_bytes(b"not any more")
    summary = ingest(workspace, [images])
    assert [s.path for s in summary.refused] == [str(changed)]
    assert summary.micrographs == 1


def test_a_lost_object_is_put_back(tmp_path, workspace):
    images = draw(tmp_path / "images", each=1)
    ingest(workspace, [images])
    shutil.rmtree(workspace.folder / "objects")
    assert ingest(workspace, [images]).taken == 2
    for micrograph in workspace.catalog.micrographs():
        assert open_display(workspace.objects, micrograph).shape == (96, 96)


def test_identical_bytes_are_one_micrograph_and_a_label_they_differ_on_is_dropped(tmp_path, workspace):
    images = draw(tmp_path / "images", each=2)
    shutil.copy(images / "Tips" / "specimen0_0.png", images / "Tips" / "again.png")
    shutil.copy(images / "Tips" / "specimen0_1.png", images / "Fibres" / "copied.png")
    summary = ingest(workspace, [images])
    assert (summary.taken, summary.micrographs) == (6, 4)
    assert len(summary.label_conflicts) == 1
    named = {m.name: m for m in workspace.catalog.micrographs()}
    assert named["copied.png"].label is None
    assert "Fibres and as Tips" in named["copied.png"].notes[-1]
    assert named["again.png"].label == "Tips"
    assert (summary.copies, summary.without_label) == (2, 1)


def test_near_duplicates_stay_together(tmp_path, workspace):
    images = draw(tmp_path / "images", each=10)
    for i in range(10):
        again = files.jpeg(files.texture(96, 96, i), quality=60)
        (images / "Fibres" / f"again_{i}.jpg").write_bytes(again)
    summary = ingest(workspace, [images])
    assert (summary.look_alikes, summary.micrographs) == (20, 30)
    clusters, parts = workspace.catalog.clusters(), workspace.catalog.parts()
    for name in set(clusters.values()):
        assert len({parts[m] for m, cluster in clusters.items() if cluster == name}) == 1


@pytest.mark.parametrize("bind", ["true", "false"])
def test_overlapping_fields_stay_together_unless_the_recipe_says_otherwise(tmp_path, bind):
    images = tmp_path / "images" / "Films"
    images.mkdir(parents=True)
    for i in range(12):
        strip = files.texture(160, 300, seed=i)
        for j, left in enumerate((0, 60, 120)):
            (images / f"{i}_{j}.png").write_bytes(files.png(strip[:, left : left + 180]))
    text = RECIPE + f"split:\n  bind_look_alikes: {bind}\n"
    with open_workspace(Workspace.create(tmp_path / "lab", text).folder) as workspace:
        summary = ingest(workspace, [images])
        assert summary.look_alikes == (36 if bind == "true" else 0)
        clusters, parts = workspace.catalog.clusters(), workspace.catalog.parts()
        strips = {m.id: m.name.split("_")[0] for m in workspace.catalog.micrographs()}
        together = {strip: {parts[m] for m in parts if strips[m] == strip} for strip in set(strips.values())}
        assert all(len(p) == 1 for p in together.values()) == (bind == "true")
        assert len(set(clusters.values())) == (12 if bind == "true" else 0)


def test_landmarks_are_found_for_what_lacks_them_only(tmp_path, workspace, monkeypatch):
    images = draw(tmp_path / "images", each=2)
    ingest(workspace, [images])
    found = []
    original = module.landmarks_of

    def counted(objects, micrograph):
        found.append(micrograph.name)
        return original(objects, micrograph)

    monkeypatch.setattr(module, "landmarks_of", counted)
    (images / "Tips" / "late.png").write_bytes(files.png(files.texture(96, 96, seed=500)))
    ingest(workspace, [images])
    assert found == ["late.png"]


def test_the_group_pattern_binds(tmp_path):
    text = RECIPE + "ingest:\n  group_pattern: '^(specimen[0-9]+)_'\n"
    with open_workspace(Workspace.create(tmp_path / "lab", text).folder) as workspace:
        ingest(workspace, [draw(tmp_path / "images", each=12)])
        parts = workspace.catalog.parts()
        groups = {m.id: m.group for m in workspace.catalog.micrographs()}
        assert set(groups.values()) == {f"specimen{i}" for i in range(6)}
        for group in set(groups.values()):
            assert len({parts[m] for m in parts if groups[m] == group}) == 1


def test_a_table_comes_before_folders_and_may_come_later(tmp_path, workspace, monkeypatch):
    images = draw(tmp_path / "images", each=2)
    ingest(workspace, [images])
    table = images / "labels.csv"
    table.write_text(
        "file,label,group,caption,pixel_size_nm,part,remarks\n"
        "Tips/specimen0_0.png,Films,s1,A film.,3.5,test,nice\nnowhere.png,Tips,,,,,\n"
    )
    monkeypatch.setattr("micrographia.micrographs.ingest.read_file", never)
    summary = ingest(workspace, [images], table=table)
    assert (summary.rows_without_file, summary.unknown_columns) == (("nowhere.png",), ("remarks",))
    assert summary.skipped == ()
    told = [m for m in workspace.catalog.micrographs() if m.label == "Films"]
    assert [(m.group, m.caption, m.scale.pixel_size_nm) for m in told] == [("s1", "A film.", 3.5)]
    assert workspace.catalog.parts()[told[0].id] == "test"


def test_a_wrong_table_or_path_starts_nothing(tmp_path, workspace):
    images = draw(tmp_path / "images", each=1)
    (tmp_path / "labels.csv").write_text("file,magnification\nspecimen0_0.png,many\n")
    with pytest.raises(RecipeError, match="column magnification is 'many'"):
        ingest(workspace, [images], table=tmp_path / "labels.csv")
    with pytest.raises(RecipeError, match="nowhere"):
        ingest(workspace, [images, tmp_path / "nowhere"])
    assert workspace.catalog.sources() == []


def test_what_is_no_image_is_listed_and_hurts_nobody(tmp_path, workspace):
    images = draw(tmp_path / "images", each=1)
    (images / "notes.txt").write_text("BMW taken on Monday")
    (images / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (images / "scan.dm3").write_bytes(b"\0\0\0\3" + bytes(200))
    summary = ingest(workspace, [images])
    assert {base(s): s.reason for s in summary.skipped} == {
        "notes.txt": "not an image",
        ".DS_Store": "hidden",
    }
    assert [base(s) for s in summary.refused] == ["scan.dm3"]
    assert "list no image" in summary.refused[0].reason


def test_a_workspace_among_the_images_is_not_ingested(tmp_path):
    images = draw(tmp_path / "images", each=1)
    with open_workspace(Workspace.create(images / "lab", RECIPE).folder) as workspace:
        assert ingest(workspace, [images]).taken == 2
        assert ingest(workspace, [images]).unchanged == 2


def spoil(data, how, rng):
    """A file that can be told to be bad, whatever its format."""
    if how == "empty":
        return b""
    if how == "truncated":
        return data[: int(rng.integers(1, max(2, len(data) * 9 // 10)))]
    if how == "garbage":
        return rng.bytes(len(data))
    if how == "zeros":
        return bytes(len(data))
    if how == "wrong head":
        return b"%PDF-1.7" + data[8:]
    return b"\r\n".join(data.split(b"\n")) if how == "text mode" and b"\n" in data[:10] else data[3:]


ABSURD = [
    files.crafted_png(30_000, 30_000),
    files.crafted_jpeg(30_000, 30_000),
    files.crafted_bmp(30_000, 30_000),
    files.with_tag(files.tiff(files.texture()), 256, 2_000_000_000),
    files.crafted_png(0, 10),
]
SPOILS = ("empty", "truncated", "garbage", "zeros", "wrong head", "text mode", "absurd")


def test_300_bad_files_among_300_good_ones(tmp_path):
    rng = np.random.default_rng(0)
    kinds = list(files.KINDS.items())
    good, bad = {}, {}
    for i in range(300):
        name, make = kinds[i % len(kinds)]
        data = make() if i < len(kinds) else files.png(files.texture(seed=i))
        good[f"good_{i:03}_{name}"] = data
        how = SPOILS[i % len(SPOILS)]
        spoiled = ABSURD[i % len(ABSURD)] if how == "absurd" else spoil(make(), how, rng)
        bad[f"bad_{i:03}_{how.replace(' ', '_')}_{name}"] = spoiled
    for name, data in (good | bad).items():
        folder = tmp_path / "images" / "Particles"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    process = psutil.Process()
    before = process.memory_info().rss
    with open_workspace(Workspace.create(tmp_path / "lab", RECIPE).folder) as workspace:
        summary = ingest(workspace, [tmp_path / "images"])
        taken = {base(s) for s in workspace.catalog.sources("taken")}
    assert taken == set(good)
    assert {base(s) for s in summary.refused} == set(bad)
    for source in summary.refused:
        assert source.reason.startswith(base(source)), source.reason
        assert "Traceback" not in source.reason
        assert "unexpected" not in source.reason
    assert process.memory_info().rss - before < 150e6


def test_workers_make_no_difference(tmp_path):
    images = draw(tmp_path / "images", each=25)
    (images / "Tips" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    results = []
    for workers in (1, 2):
        made = Workspace.create(tmp_path / f"lab{workers}", f"workers: {workers}\n")
        with open_workspace(made.folder) as workspace:
            ingest(workspace, [images])
            results.append(content(workspace))
    assert results[0] == results[1]


PROGRAM = """
import sys
from pathlib import Path
from micrographia.micrographs.ingest import ingest
from micrographia.workspace import Workspace
if __name__ == "__main__":
    ingest(Workspace(Path(sys.argv[1])), [Path(sys.argv[2])])
"""


def test_a_killed_run_goes_on_and_ends_like_one_that_was_not(tmp_path):
    images = draw(tmp_path / "images", each=40)
    (images / "Tips" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "run.py").write_text(PROGRAM)
    for name in ("undisturbed", "killed"):
        Workspace.create(tmp_path / name, RECIPE).close()
    rng = np.random.default_rng(0)
    seen = 0
    with open_workspace(tmp_path / "killed") as workspace:
        for _ in range(3):
            command = [sys.executable, tmp_path / "run.py", workspace.folder, images]
            process = subprocess.Popen([str(c) for c in command])
            while process.poll() is None and len(workspace.catalog.sources()) == seen:
                time.sleep(0.005)
            time.sleep(float(rng.uniform(0, 0.05)))
            process.kill()
            process.wait()
            now = len(workspace.catalog.sources())
            assert now > seen or process.returncode == 0
            seen = now
    contents = []
    for name in ("undisturbed", "killed"):
        with open_workspace(tmp_path / name) as workspace:
            ingest(workspace, [images])
            contents.append(content(workspace))
            objects = [p for p in (tmp_path / name / "objects").rglob("*") if p.is_file()]
            assert {p.parent.name + p.name for p in objects if p.suffix != ".part"} == {
                m.id for m in workspace.catalog.micrographs()
            }
    assert contents[0] == contents[1]


def test_progress_counts_every_file(tmp_path, workspace):
    class Counting(Silent):
        total, done = 0, 0

        def begin(self, task, total=None, unit="items"):
            self.total += total

        def advance(self, count=1, note=""):
            self.done += count

    counting = Counting()
    ingest(workspace, [draw(tmp_path / "images", each=20)], progress=counting)
    assert counting.total == counting.done >= 40


@pytest.mark.real
def test_real_vendor_files_are_taken_or_refused_with_a_reason(real_data, workspace):
    summary = ingest(workspace, [real_data / "vendor"])
    assert summary.taken >= 10
    names = {base(s).rpartition(".")[2].lower() for s in summary.refused}
    assert names <= {"dm3", "dm4", "emd", "ser", "mrc"}
