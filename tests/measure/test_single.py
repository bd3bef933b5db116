"""One file measured by itself: the picture and the table that are written, and when there is no table."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micrographia import phantoms
from micrographia.errors import UnreadableFile
from micrographia.measure.overlay import OUTLINE
from micrographia.measure.single import COLUMNS, measure_picture, names_for, write_results
from tests.measure.drawn import discs
from tests.micrographs import instruments as made

PIXEL_NM = 2.5
"""Of the file that has a scale."""


@pytest.fixture(scope="module")
def image():
    """Eight discs, and one that the right side cuts."""
    field = discs(8, radius=10, shape=(200, 240))
    row, column = np.mgrid[:200, :240]
    field[np.hypot(row - 100, column - 240) < 11] = 60
    return field


def without_scale(folder, image, name="a.png"):
    path = folder / name
    Image.fromarray(image).save(path)
    return path


def with_scale(folder, image):
    """An FEI file: its header tells the pixel size."""
    rows, columns = image.shape
    told = {"PixelWidth": PIXEL_NM * 1e-9, "PixelHeight": PIXEL_NM * 1e-9}
    text = made.fei_text(
        {f"[Scan] {key}": f"{metres:.6e}" for key, metres in told.items()}
        | {
            "[EBeam] HFW": f"{PIXEL_NM * columns * 1e-9:.6e}",
            "[Image] ResolutionX": str(columns),
            "[Image] ResolutionY": str(rows),
        }
    )
    path = folder / "scaled.tif"
    path.write_bytes(made.tiff((34682, text), image=image))
    return path


def written(path, folder, method="threshold"):
    """What was measured, the files that were written, and the rows of the table, if there is one."""
    measured = measure_picture(path, ("particles",), method)
    files = write_results(measured, folder)
    found = {m.name: m for m in measured.measured.measurements}
    tables = [file for file in files if file.suffix == ".csv"]
    rows = [list(csv.DictReader(file.read_text(encoding="utf-8").splitlines())) for file in tables]
    return found, files, rows[0] if rows else None


def numbers(rows, column):
    return np.array([float(row[column]) for row in rows])


def outlined(file):
    """How many pixels of a picture have the colour of an outline."""
    picture = np.asarray(Image.open(file).convert("RGB")).astype(int)
    wanted = [int(OUTLINE[k : k + 2], 16) for k in (1, 3, 5)]
    return int((abs(picture - wanted) <= 3).all(axis=-1).sum())


def test_a_picture_and_a_table_are_written_under_the_images_name(image, tmp_path):
    _, files, rows = written(without_scale(tmp_path, image, "sample 3.png"), tmp_path / "new" / "out")
    assert [file.name for file in files] == ["sample 3-measured.png", "sample 3-particles.csv"]
    assert all(file.parent == tmp_path / "new" / "out" and file.exists() for file in files)
    assert outlined(files[0]) > 500
    assert tuple(rows[0]) == COLUMNS


def test_the_table_says_what_the_measurements_say(image, tmp_path):
    found, _, rows = written(without_scale(tmp_path, image), tmp_path)
    whole = [row for row in rows if row["Cut"] == "0"]
    assert numbers(rows, "Label").tolist() == list(range(1, 10))
    assert (len(rows), len(whole)) == (9, 8)
    assert found["particle count"].quantity.value == 9
    for name, column in (
        ("particle diameter", "Diameter"),
        ("particle largest Feret diameter", "Feret"),
        ("particle smallest Feret diameter", "MinFeret"),
        ("particle circularity", "Circ."),
    ):
        quantity = found[name].quantity
        assert quantity.n == len(whole)
        assert quantity.value == pytest.approx(np.median(numbers(whole, column)), rel=1e-4)
    share = found["particle area fraction"].quantity.value
    assert share == pytest.approx(100 * numbers(rows, "Area").sum() / image.size, rel=1e-4)


def test_the_columns_of_a_row_agree_with_each_other(image, tmp_path):
    for path in (without_scale(tmp_path, image), with_scale(tmp_path, image)):
        _, _, rows = written(path, tmp_path)
        assert numbers(rows, "Diameter") == pytest.approx(
            2 * np.sqrt(numbers(rows, "Area") / np.pi), rel=1e-4
        )
        assert numbers(rows, "AR") == pytest.approx(
            numbers(rows, "Feret") / numbers(rows, "MinFeret"), rel=1e-3
        )
        assert (numbers(rows, "AR") >= 1).all()


def test_lengths_are_in_the_unit_of_the_last_column(image, tmp_path):
    pixels = written(without_scale(tmp_path, image), tmp_path)[2]
    nanometres = written(with_scale(tmp_path, image), tmp_path)[2]
    assert {row["Unit"] for row in pixels} == {"px"}
    assert {row["Unit"] for row in nanometres} == {"nm"}
    for column, power in (("Feret", 1), ("MinFeret", 1), ("Diameter", 1), ("Area", 2), ("Circ.", 0)):
        expected = PIXEL_NM**power * numbers(pixels, column)
        assert numbers(nanometres, column) == pytest.approx(expected, rel=1e-4)
    assert [row["Cut"] for row in pixels] == [row["Cut"] for row in nanometres]


def test_outlines_that_are_not_trusted_are_neither_drawn_nor_listed(tmp_path):
    noise = np.clip(np.random.default_rng(0).normal(128, 30, (128, 128)), 0, 255).astype(np.uint8)
    found, files, rows = written(without_scale(tmp_path, noise), tmp_path / "out", "network")
    assert "not certain" in found["particle count"].refused
    assert rows is None
    assert [file.name for file in files] == ["a-measured.png"]
    assert list((tmp_path / "out").iterdir()) == list(files)
    assert outlined(files[0]) == 0


def test_an_image_without_particles_has_a_picture_and_no_table(tmp_path):
    found, files, rows = written(without_scale(tmp_path, np.full((100, 120), 90, np.uint8)), tmp_path)
    assert found["particle count"].quantity.value == 0
    assert (len(files), rows) == (1, None)


def test_what_is_asked_for_is_measured_and_nothing_else(image, tmp_path):
    measured = measure_picture(without_scale(tmp_path, image), ("quality",))
    assert {m.name for m in measured.measured.measurements} >= {"blur", "clipped dark"}
    assert not [m for m in measured.measured.measurements if m.name.startswith("particle")]
    assert [file.suffix for file in write_results(measured, tmp_path)] == [".png"]


def test_a_scale_in_conflict_is_shown_and_lengths_are_in_pixels(tmp_path):
    drawn = phantoms.draw("Particles", 3, (512, 640), "fei", variety="spherical particles")
    path = made.as_fei(drawn, tmp_path / "a.tif", 3 * drawn.pixel_size_nm)
    _, files, rows = written(path, tmp_path)
    assert [file.name for file in files] == ["a-measured.png", "a-particles.csv", "a-conflict.png"]
    assert {row["Unit"] for row in rows} == {"px"}


def test_no_particle_is_outlined_in_the_databar(tmp_path):
    drawn = phantoms.draw("Particles", 3, (512, 640), "zeiss", variety="spherical particles")
    measured = measure_picture(without_scale(tmp_path, drawn.image), ("particles",), "threshold")
    assert measured.picture.display.shape == drawn.image.shape
    assert measured.measured.segmentation.labels.shape == measured.picture.field.shape
    assert abs(len(measured.picture.field) - drawn.databar.top) <= 8


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0 and no more")
    with pytest.raises(UnreadableFile, match=r"a\.tif"):
        measure_picture(tmp_path / "a.tif")


def test_results_of_images_with_like_names_do_not_overwrite_each_other():
    names = names_for([Path("a/x.png"), Path("a/x.tif"), Path("b/x.png"), Path("b/y.png"), Path("b/y.png")])
    assert names == ["a-x.png", "x.tif", "b-x.png", "b-y.png-4", "b-y.png-5"]
    assert names_for([Path("a/x.png"), Path("y.png")]) == ["x", "y"]
