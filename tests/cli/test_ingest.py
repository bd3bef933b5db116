"""`micrographia ingest` where readings of the scale differ: the summary names images and pictures."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest
from PIL import Image
from typer.testing import CliRunner

from micrographia import phantoms
from micrographia.cli import app
from micrographia.cli.ingest import divided
from tests.micrographs.instruments import as_fei


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def contradicting(tmp_path_factory):
    """A folder with one image, and a workspace."""
    folder = tmp_path_factory.mktemp("contradicting")
    (folder / "images").mkdir()
    drawn = phantoms.draw("Powder", 5, (384, 512), "zeiss")
    as_fei(drawn, folder / "images" / "probe.tif", 1.6 * drawn.pixel_size_nm)
    run("init", folder / "lab")
    return folder


def test_the_folder_of_pictures_is_named(contradicting):
    lab = contradicting / "lab"
    done = run("ingest", contradicting / "images", "--lab", lab)
    assert done.exit_code == 0
    assert "images whose readings of the scale differ: 1 (probe.tif: " in done.stderr
    assert f"they are drawn in {lab / 'conflicts'}\n" in done.stderr
    assert [path.suffix for path in (lab / "conflicts").iterdir()] == [".png"]


def test_a_script_is_told_too(contradicting):
    lab = contradicting / "lab"
    told = json.loads(run("ingest", contradicting / "images", "--lab", lab, "--json").stdout)
    assert told["conflict_pictures"] == str(lab / "conflicts")
    assert (len(told["scale_conflicts"]), told["conflicts_not_drawn"]) == (1, [])


def test_run_without_images_draws_what_is_missing(contradicting, monkeypatch):
    """As after an ingest that was stopped before its end."""
    lab = contradicting / "lab"
    run("ingest", contradicting / "images", "--lab", lab)
    shutil.rmtree(lab / "conflicts")
    monkeypatch.setattr(sys.modules["micrographia.cli.run"], "learn_and_evaluate", lambda *_: ([], None))
    assert run("run", "--lab", lab).exit_code == 0
    assert len(list((lab / "conflicts").iterdir())) == 1


def test_a_picture_that_cannot_be_drawn_is_named_with_the_reason(contradicting):
    lab = contradicting / "lab2"
    run("init", lab)
    (lab / "conflicts").write_text("a note in the place of the folder")
    done = run("ingest", contradicting / "images", "--lab", lab)
    assert done.exit_code == 0
    assert "they are drawn in" not in done.stderr
    assert "images of which that could not be drawn: 1 (probe.tif: " in done.stderr


@pytest.mark.parametrize(
    ("each", "told"),
    [
        (2, "2 train, 0 validation, 2 test\nvalidation has no image: each class has at most 2 groups"),
        (3, "2 train, 2 validation, 2 test\n"),
    ],
)
def test_it_says_how_images_are_divided_and_why_a_part_is_empty(tmp_path, each, told):
    """Two classes of as many specimens of one image."""
    for seed in range(2 * each):
        (folder := tmp_path / "images" / f"class {seed % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantoms.draw("Powder", seed, (96, 96)).image).save(folder / f"{seed}.png")
    run("init", tmp_path / "lab")
    done = run("ingest", tmp_path / "images", "--lab", tmp_path / "lab", "--json")
    assert f"divided into {told}" in done.stderr
    (sizes,) = json.loads(done.stdout)["parts"]
    assert (sizes["train"], sum(sizes.values())) == (2, 2 * each)


@pytest.mark.parametrize(
    ("parts", "groups", "told"),
    [
        (
            [{"train": 4, "validation": 0}] * 2 + [{"train": 3, "validation": 1}],
            2,
            "in 2 of 3 folds: each class",
        ),
        ([{"train": 4, "validation": 0}], 5, "validation has no image: the table's column part"),
    ],
)
def test_why_a_part_is_empty(parts, groups, told):
    summary = SimpleNamespace(micrographs=4, parts=parts, most_groups=groups)
    first, last = divided(summary)
    assert first.startswith("divided into 4 train, 0 validation")
    assert told in last


def test_a_table_among_the_images_is_pointed_out_until_one_is_given(tmp_path, monkeypatch):
    (images := tmp_path / "my images").mkdir()
    Image.fromarray(phantoms.draw("Powder", 3, (96, 96)).image).save(images / "a.png")
    (images / "labels.csv").write_text("file,label\na.png,Powder\n")
    (images / "sizes.csv").write_text("Label,Area\n1,20\n")
    run("init", tmp_path / "lab")
    monkeypatch.chdir(tmp_path)
    told = "labels.csv looks like a table of labels: give it with --table 'my images/labels.csv'\n"
    done = run("ingest", "my images", "--lab", "lab", "--json")
    assert told in done.stderr and done.stderr.count("looks like a table") == 1
    assert json.loads(done.stdout)["tables"] == [str(images / "labels.csv")]
    assert (
        "looks like a table"
        not in run("ingest", images, "--table", images / "labels.csv", "--lab", "lab").stderr
    )
    assert "looks like a table" not in run("ingest", images, "--lab", "lab").stderr
