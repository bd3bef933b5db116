"""`micrographia measure IMAGE` and `compare-measurements`: what is printed, drawn and written."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from micrographia import phantoms
from micrographia.cli import app
from tests.micrographs.instruments import as_fei


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def spheres(tmp_path_factory):
    """The file of a drawn micrograph with a databar, and its truth."""
    drawn = phantoms.draw("Particles", 3, (512, 640), "zeiss", variety="spherical particles")
    path = tmp_path_factory.mktemp("images") / "spheres.png"
    Image.fromarray(drawn.image).save(path)
    return path, drawn


@pytest.fixture(scope="module")
def measured(spheres, tmp_path_factory):
    """What `--json` tells, and the folder with what was written."""
    out = tmp_path_factory.mktemp("measured")
    result = run("measure", spheres[0], "--json", "--out", out)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)[str(spheres[0])], out


def test_sizes_come_with_unit_interval_and_n(measured, spheres):
    told, _ = measured
    drawn = spheres[1]
    assert told["scale"]["verdict"] == "single"
    assert told["pixel_size_nm"] == pytest.approx(drawn.pixel_size_nm, rel=0.02)
    diameter = told["measurements"]["particle diameter"]
    whole = [one.equivalent_diameter_px for one in drawn.truth.objects if one.whole]
    assert diameter["unit"] == "nm"
    assert diameter["value"] == pytest.approx(np.median(whole) * drawn.pixel_size_nm, rel=0.1)
    assert diameter["low"] < diameter["value"] < diameter["high"]
    assert "outlines by network" in diameter["method"]
    assert "nothing repeats" in told["measurements"]["pitch"]["refused"]


def test_a_picture_and_a_table_are_written(measured):
    told, out = measured
    picture, table = out / "spheres-measured.png", out / "spheres-particles.csv"
    assert told["written"] == [str(picture), str(table)]
    with Image.open(picture) as image:
        assert min(image.size) > 400
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == told["measurements"]["particle count"]["value"]
    assert {row["Unit"] for row in rows} == {"nm"}


def test_in_words(spheres, tmp_path):
    result = run("measure", spheres[0], "--what", "particles,cracks", "--out", tmp_path)
    assert "scale: single: " in result.stdout
    assert "particle diameter" in result.stdout
    assert "95 % interval" in result.stdout
    assert "pitch" not in result.stdout


def test_a_conflict_of_the_scale_is_drawn(spheres, tmp_path):
    path = as_fei(spheres[1], tmp_path / "wrong.tif", 2 * spheres[1].pixel_size_nm)
    told = json.loads(run("measure", path, "--json", "--out", tmp_path, "--what", "quality").stdout)[
        str(path)
    ]
    assert told["scale"]["verdict"] == "conflict"
    assert told["written"] == [str(tmp_path / "wrong-measured.png"), str(tmp_path / "wrong-conflict.png")]
    with Image.open(tmp_path / "wrong-conflict.png") as image:
        assert min(image.size) > 400


def test_without_a_scale_lengths_are_in_pixels(spheres, tmp_path):
    bare = tmp_path / "bare.png"
    Image.fromarray(spheres[1].field).save(bare)
    result = run("measure", bare, "--json", "--out", tmp_path, "--what", "particles")
    told = json.loads(result.stdout)[str(bare)]
    assert told["scale"]["verdict"] == "none"
    assert told["measurements"]["particle diameter"]["unit"] == "px"


def test_one_bad_file_does_not_stop_the_others(spheres, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0 and no more")
    result = run("measure", bad, spheres[0], "--json", "--out", tmp_path, "--what", "quality")
    assert result.exit_code == 1
    assert list(json.loads(result.stdout)) == [str(spheres[0])]
    assert "bad.tif" in result.stderr


@pytest.mark.parametrize("options", [["--what", "colour"], ["--method", "guess"]])
def test_a_wrong_option_is_refused_before_any_work(spheres, tmp_path, options):
    result = run("measure", spheres[0], "--out", tmp_path / "none", *options)
    assert result.exit_code == 2
    assert options[1] in result.stderr
    assert not (tmp_path / "none").exists()


class TestComparison:
    def tables(self, folder, ours, theirs, labels=True):
        for name, values in (("ours", ours), ("theirs", theirs)):
            with (folder / f"{name}.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow([" ", *(["Label"] if labels else []), "Feret"])
                for k, value in enumerate(values, 1):
                    rows.writerow([k, *([f"particle {k}"] if labels else []), value])
        return folder / "ours.csv", folder / "theirs.csv"

    def test_bias_and_limits(self, tmp_path):
        """Differences 1, 2, 3: mean 2, standard deviation 1."""
        tables = self.tables(tmp_path, [11, 12, 13], [10, 10, 10])
        result = run("compare-measurements", *tables, "--json", "--out", tmp_path / "plot.png")
        found = json.loads(result.stdout)
        assert (found["n"], found["bias"]) == (3, 2)
        assert found["limit_low"] == pytest.approx(2 - 1.96)
        assert found["limit_high"] == pytest.approx(2 + 1.96)
        assert found["bias_high"] == pytest.approx(2 + 4.3027 / 3**0.5, rel=1e-3)
        with Image.open(tmp_path / "plot.png") as image:
            assert min(image.size) > 300

    def test_rows_are_paired_by_their_labels(self, tmp_path):
        ours, theirs = self.tables(tmp_path, [1, 2, 3, 4], [1, 2, 3, 4])
        lines = theirs.read_text().splitlines()
        theirs.write_text("\n".join([lines[0], *reversed(lines[1:])]))
        result = run("compare-measurements", ours, theirs, "--json", "--out", tmp_path / "plot.png")
        assert json.loads(result.stdout)["bias"] == 0

    def test_particles_are_paired_by_position_and_cut_ones_left_out(self, tmp_path):
        """Four particles, theirs in another order; the last of ours is cut by a side."""
        (tmp_path / "ours.csv").write_text(
            "Label,X,Y,Feret,Cut\n1,10,10,5,0\n2,50,10,6,0\n3,10,50,7,0\n4,90,90,1,1\n"
        )
        (tmp_path / "theirs.csv").write_text(" ,X,Y,Feret\n1,11,50,7\n2,90,89,9\n3,51,11,6\n4,10,11,5\n")
        files = (tmp_path / "ours.csv", tmp_path / "theirs.csv")
        found = json.loads(run("compare-measurements", *files, "--json", "--out", tmp_path / "p.png").stdout)
        assert (found["paired_by"], found["n"], found["bias"], found["limit_high"]) == ("position", 3, 0, 0)

    def test_pairs_by_order_and_another_unit_are_warned_of(self, tmp_path):
        tables = self.tables(tmp_path, [1100, 1200, 1300], [1.0, 1.1, 1.2], labels=False)
        said = " ".join(run("compare-measurements", *tables, "--out", tmp_path / "p.png").stderr.split())
        assert "paired by their order alone" in said
        assert "are both in the same unit?" in said

    def test_in_words(self, tmp_path):
        tables = self.tables(tmp_path, [11, 12, 13], [10, 10, 10], labels=False)
        result = run("compare-measurements", *tables, "--out", tmp_path / "plot.png")
        assert "bias (ours - theirs): 2 [" in result.stdout
        assert "limits of agreement: 0.04 to 3.96" in result.stdout

    @pytest.mark.parametrize(
        ("ours", "theirs", "reason"),
        [([1, 2, 3], [1, 2], "3 rows and"), ([1, 2], [1, 2], "2 pairs"), (["a", 2, 3], [1, 2, 3], "Feret")],
    )
    def test_what_cannot_be_compared(self, tmp_path, ours, theirs, reason):
        result = run("compare-measurements", *self.tables(tmp_path, ours, theirs, labels=False))
        assert result.exit_code == 2
        assert reason in result.stderr
