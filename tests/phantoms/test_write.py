"""Folders of drawn micrographs: complete, the same each time, and gone on with after a stop."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from micrographia import phantoms
from micrographia.engine import Silent
from micrographia.errors import RecipeError

SIZE = (80, 96)


class StopAfter(Silent):
    """Ends the run as a kill would, once so many images are done."""

    def __init__(self, count):
        self.left = count

    def advance(self, count=1, note=""):
        self.left -= count
        if self.left == 0:
            raise KeyboardInterrupt


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    phantoms.write(folder, 4, seed=1, size=SIZE)
    return folder


def test_one_folder_a_class_and_a_row_an_image(lab):
    rows = list(csv.DictReader((lab / "labels.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 40
    assert {row["label"] for row in rows} == set(phantoms.CATEGORIES)
    for row in rows:
        assert (lab / row["file"]).parent.name == row["label"]
        assert row["technique"] == "SEM"
        assert float(row["pixel_size_nm"]) > 0
        assert float(row["accelerating_voltage_kv"]) >= 1
    with Image.open(lab / rows[0]["file"]) as image:
        assert (image.height, image.width) == SIZE


def test_images_of_a_group_show_one_variety(lab):
    lines = [json.loads(text) for text in (lab / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    groups = {}
    for line in lines:
        groups.setdefault(line["group"], set()).add(line["truth"]["variety"])
    assert len(groups) == 20
    assert all(len(varieties) == 1 for varieties in groups.values())
    sizes = [sum(line["group"] == group for line in lines) for group in groups]
    assert set(sizes) == {phantoms.IMAGES_PER_SPECIMEN, 4 - phantoms.IMAGES_PER_SPECIMEN}


def test_the_truth_on_file_is_that_of_the_picture(lab):
    line = json.loads((lab / "truth.jsonl").read_text(encoding="utf-8").splitlines()[7])
    drawn = phantoms.draw(**{**line["drawn"], "size": tuple(line["drawn"]["size"])})
    with Image.open(lab / line["file"]) as image:
        assert np.array_equal(np.asarray(image), drawn.image)
    assert phantoms.Truth(**line["truth"]) == drawn.truth
    assert phantoms.DatabarTruth(**line["databar"]) == drawn.databar


def test_a_second_run_draws_nothing_and_changes_nothing(lab):
    before = {f: f.stat().st_mtime_ns for f in lab.rglob("*.png")}
    files = contents(lab)
    phantoms.write(lab, 4, seed=1, size=SIZE)
    assert {f: f.stat().st_mtime_ns for f in lab.rglob("*.png")} == before
    assert contents(lab) == files


def test_a_stopped_run_goes_on_and_ends_as_an_undisturbed_one(lab, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        phantoms.write(tmp_path, 4, seed=1, size=SIZE, progress=StopAfter(13))
    assert not (tmp_path / "labels.csv").exists()
    done = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("*.png")}
    assert len(done) == 13
    with (tmp_path / "truth.jsonl").open("a", encoding="utf-8") as truth:
        truth.write('{"file": "Tips/ti')
    phantoms.write(tmp_path, 4, seed=1, size=SIZE)
    assert {f: f.stat().st_mtime_ns for f in done} == done
    assert contents(tmp_path) == contents(lab)


def test_a_lost_image_is_drawn_again(lab, tmp_path):
    phantoms.write(tmp_path, 1, seed=1, size=SIZE)
    lost = next(tmp_path.rglob("*.png"))
    kept = lost.read_bytes()
    lost.unlink()
    phantoms.write(tmp_path, 1, seed=1, size=SIZE)
    assert lost.read_bytes() == kept


def test_other_seeds_give_other_images(tmp_path):
    for seed in (1, 2):
        phantoms.write(tmp_path / str(seed), 1, seed=seed, size=SIZE, databars=False)
    first, second = (contents(tmp_path / str(seed)) for seed in (1, 2))
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_a_size_that_is_too_small_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="at least"):
        phantoms.write(tmp_path, 1, size=(40, 40))
    assert not list(tmp_path.rglob("*.png"))


def test_the_contact_sheet_shows_every_category(tmp_path):
    path = phantoms.contact_sheet(tmp_path / "sheet.png", columns=1, side=48)
    with Image.open(path) as sheet:
        assert sheet.width == 48
        assert sheet.height == len(phantoms.CATEGORIES) * (48 + 22)
        assert np.asarray(sheet)[22:70].std() > 20
