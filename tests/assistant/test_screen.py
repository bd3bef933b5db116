"""Every image is a row, a bad one with its error; what was done is not done again, also after a kill."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from micrographia.assistant import Assistant, table
from micrographia.assistant import screen as room
from micrographia.assistant.screen import screen
from micrographia.engine import SILENT
from micrographia.errors import RecipeError
from micrographia.measure import measure_image
from micrographia.micrographs.display import to_display

from .tiny import images, write_student

KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from micrographia.assistant import Assistant
from micrographia.assistant import screen as room
from micrographia.engine import Silent

torch.set_num_threads(1)

class Watch(Silent):
    batches = 0
    def advance(self, count=1, note=""):
        self.batches += 1
        if self.batches == 2:
            os.kill(os.getpid(), signal.SIGKILL)

room.IMAGES_AT_ONCE = 3
folder, out, student = map(Path, sys.argv[1:])
room.screen(folder, out, Assistant.load(student), progress=Watch())
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Eight images in folders, one of 16 bits; four that cannot be read; two files that are no images."""
    folder = tmp_path_factory.mktemp("original")
    (folder / "b").mkdir()
    for i, image in enumerate(images(7)):
        Image.fromarray(image).save(folder / ("b" if i % 2 else ".") / f"{i}.png")
    ramp = np.linspace(1000, 9000, 96 * 96).reshape(96, 96).astype(np.uint16)
    tifffile.imwrite(folder / "ramp.tif", ramp)
    whole = (folder / "0.png").read_bytes()
    (folder / "b" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "=1+1.png").write_bytes(b"no image")
    (folder / "detector.dm3").write_bytes(b"\0\0\0\x03 and so on")
    (folder / "notes.txt").write_text("not an image", encoding="utf-8")
    (folder / ".hidden.png").write_bytes(whole)
    return folder


@pytest.fixture
def pictures(original, tmp_path):
    return shutil.copytree(original, tmp_path / "pictures")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "table.csv"


@pytest.fixture(scope="module")
def once(original, assistant, tmp_path_factory):
    """An undisturbed screening, and its rows by path."""
    out = tmp_path_factory.mktemp("once") / "table.csv"
    screening = screen(original, out, assistant)
    return screening, {row["path"]: row for row in table.read(out)}


@pytest.fixture
def looked_at(assistant, monkeypatch):
    """How many images the student was shown, batch by batch."""
    counts = []
    describe = Assistant.describe
    monkeypatch.setattr(
        Assistant, "describe", lambda self, images: counts.append(len(images)) or describe(self, images)
    )
    return counts


def test_one_row_for_each_image_sorted_by_path(once):
    screening, rows = once
    good = ["0.png", "2.png", "4.png", "6.png", "b/1.png", "b/3.png", "b/5.png", "ramp.tif"]
    bad = ["=1+1.png", "b/cut.png", "detector.dm3", "empty.jpg"]
    assert list(rows) == sorted([*good, *bad])
    assert (
        [path for path, row in rows.items() if row["error"]] == [path for path, _ in screening.errors] == bad
    )
    assert (screening.images, screening.computed, screening.skipped) == (12, 12, 2)


def test_a_row_is_what_the_assistant_says_and_what_is_measured(once, original, assistant):
    _, rows = once
    image = np.asarray(Image.open(original / "b" / "1.png"))
    look, row = assistant.ask(image), rows["b/1.png"]
    assert row["caption"] == look.text
    pairs = [(row["category"], row["confidence"]), (row["second_category"], row["second_probability"])]
    assert [label for label, _ in pairs] == [label for label, _ in look.ranking[:2]]
    assert [p for _, p in pairs] == pytest.approx([p for _, p in look.ranking[:2]], rel=1e-4)
    assert (row["height"], row["width"]) == image.shape[:2]
    assert row["student"] == assistant.identity
    for measurement in measure_image(image):
        cell, quantity = row[table.MEASURED[measurement.name]], measurement.quantity
        assert cell == (pytest.approx(quantity.value, rel=1e-5) if quantity else None)


def test_sixteen_bits_go_through_the_display(once, original, assistant):
    display, _ = to_display(tifffile.imread(original / "ramp.tif"))
    assert once[1]["ramp.tif"]["caption"] == assistant.ask(display).text
    assert once[1]["ramp.tif"]["contrast_percent"] > 80


def test_a_bad_file_has_its_error_and_nothing_else(once):
    for path in ("=1+1.png", "b/cut.png", "detector.dm3"):
        row = once[1][path]
        assert path.split("/")[-1] in row["error"] and row["sha256"]
        assert row["category"] is row["caption"] is row["width"] is row["brightness_percent"] is None
    assert once[1]["empty.jpg"]["sha256"] is None and "empty" in once[1]["empty.jpg"]["error"]


def test_csv_and_parquet_hold_the_same(once, original, assistant, tmp_path):
    screen(original, tmp_path / "table.parquet", assistant)
    assert table.read(tmp_path / "table.parquet") == list(once[1].values())


def test_processes_and_small_batches_change_nothing(once, original, assistant, out, monkeypatch):
    monkeypatch.setattr(room, "WORTH_A_WORKER", 1)
    monkeypatch.setattr(room, "IMAGES_AT_ONCE", 2)
    screen(original, out, assistant, workers=2)
    assert_same(table.read(out), once[1].values())


def assert_same(rows, expected):
    """Floats may differ where they were rounded."""
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, cell in row.items():
            assert cell == (pytest.approx(other[name], rel=2e-5) if isinstance(cell, float) else other[name])


def test_a_second_run_looks_at_nothing_but_what_could_not_be_read(pictures, assistant, out, looked_at):
    screen(pictures, out, assistant)
    before = out.read_bytes()
    looked_at.clear()
    again = screen(pictures, out, assistant)
    assert (again.computed, sum(looked_at), out.read_bytes()) == (4, 0, before)


def test_new_changed_and_removed_files(pictures, assistant, out, looked_at):
    screen(pictures, out, assistant)
    looked_at.clear()
    (pictures / "0.png").unlink()
    shutil.copy(pictures / "2.png", pictures / "new.png")
    Image.fromarray(images(1, seed=5)[0]).save(pictures / "4.png")
    Image.fromarray(images(1, seed=6)[0]).save(pictures / "b" / "cut.png")
    again = screen(pictures, out, assistant)
    rows = {row["path"]: row for row in table.read(out)}
    assert sum(looked_at) == 3
    assert "0.png" not in rows and rows["new.png"]["caption"] == rows["2.png"]["caption"]
    assert len(again.errors) == 3 and rows["b/cut.png"]["error"] is None


def test_another_student_looks_at_everything(pictures, assistant, out, tmp_path, looked_at):
    screen(pictures, out, assistant)
    looked_at.clear()
    other = Assistant.load(write_student(tmp_path / "other", seed=1))
    screen(pictures, out, other)
    assert sum(looked_at) == 8
    assert {row["student"] for row in table.read(out)} == {other.identity}


def test_a_killed_run_goes_on_where_it_was(once, pictures, assistant, folder, out, looked_at):
    program = [sys.executable, "-c", KILLED, pictures, out, folder]
    done = subprocess.run(program, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not out.exists()
    journalled = list(table.read_journal(out.with_name("table.csv.part")))
    assert len(journalled) == 6
    with out.with_name("table.csv.part").open("a", encoding="utf-8") as journal:
        journal.write('{"path": "torn')
    rest = screen(pictures, out, assistant)
    good = sum(row["error"] is None for row in journalled)
    assert rest.computed == 12 - good  # what could not be read is tried again
    assert sum(looked_at) == 8 - good
    assert_same(table.read(out), once[1].values())
    assert sorted(file.name for file in out.parent.iterdir()) == ["pictures", "table.csv"]


def test_the_table_of_another_folder_is_not_overwritten(pictures, assistant, out, tmp_path):
    screen(pictures, out, assistant)
    before = out.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(pictures / "2.png", other / "another.png")
    with pytest.raises(RecipeError, match="another folder"):
        screen(other, out, assistant)
    assert out.read_bytes() == before


def test_the_table_may_lie_in_the_folder(pictures, assistant):
    first = screen(pictures, pictures / "table.csv", assistant)
    again = screen(pictures, pictures / "table.csv", assistant)
    assert first.images == again.images == 12
    assert again.skipped == first.skipped


def test_nothing_is_started_that_could_not_be_finished(tmp_path, pictures, assistant, looked_at):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "notes.txt").touch()
    for folder, out in (
        (tmp_path / "bare", tmp_path / "table.csv"),
        (tmp_path / "nowhere", tmp_path / "table.csv"),
        (pictures, tmp_path / "table.txt"),
    ):
        with pytest.raises(RecipeError):
            screen(folder, out, assistant)
    assert looked_at == [] and not list(tmp_path.glob("table*"))


def test_large_images_are_taken_fewer_at_a_time(original, assistant, out, looked_at, monkeypatch):
    screen(original, out, assistant)
    assert looked_at == [8]
    looked_at.clear()
    monkeypatch.setattr("micrographia.engine.BYTES_AT_ONCE", 1)
    screen(original, out.with_name("again.csv"), assistant)
    assert max(looked_at) == 1 and sum(looked_at) == 8


def test_progress_counts_every_image(original, assistant, out):
    counted = []

    class Watch(type(SILENT)):
        def begin(self, task, total=None, unit="items"):
            counted.append(total)

        def advance(self, count=1, note=""):
            counted.append(count)

    screen(original, out, assistant, progress=Watch())
    assert counted[0] == sum(counted[1:]) == 12
