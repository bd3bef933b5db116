"""The picture of a conflict: its lines are as long as the readings say, in the columns of the image above."""

import io

import numpy as np
import pytest
from PIL import Image

from micrographia.micrographs.conflict_picture import COLOURS, FOUND, Conflict, draw_conflict
from micrographia.micrographs.words import read_words
from micrographia.records import Box, Scale, ScaleReading
from tests.micrographs.files import texture

ROWS, COLUMNS = 300, 400
BAR = Box(top=270, left=40, bottom=274, right=140)
LEFT_PX = 36
"""Of the picture, left of the image: 0.3 inches."""
PX = 8.4 * 120 / COLUMNS
"""Of the picture, for each column of the image."""


def header(pixel_nm, detail="[Scan] PixelWidth"):
    return ScaleReading(source="vendor tag", pixel_size_nm=pixel_nm, detail=detail)


def scale_bar(pixel_nm=10.0, label="1 µm = 100.0 px"):
    return ScaleReading(source="scale bar", pixel_size_nm=pixel_nm, relative_uncertainty=0.005, detail=label)


def conflict(*readings, bar=BAR, name="probe.tif", image=None):
    image = (60 + texture(ROWS, COLUMNS) // 3).astype(np.uint8) if image is None else image
    scale = Scale.of(readings)
    assert scale.verdict == "conflict"
    return Conflict(name, image, scale, bar)


def pixels_of(conflict):
    with Image.open(io.BytesIO(draw_conflict(conflict))) as picture:
        return np.asarray(picture.convert("RGB"))


def span(picture, colour):
    """First and last column of the longest unbroken run of a colour in any row."""
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    longest = (0, 0)
    for row in (picture == wanted).all(-1):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.view(np.int8), [0]])))
        for start, end in edges.reshape(-1, 2):
            if end - start > longest[1] - longest[0]:
                longest = (start, end)
    return longest


def words(picture):
    grey = np.asarray(Image.fromarray(picture).convert("L"))
    return " ".join(word.text for word in read_words(grey)).replace(" ", "")


@pytest.mark.parametrize("factor", [0.4, 0.8, 1.6, 10.0])
def test_each_line_is_as_long_as_its_reading_makes_the_label(factor):
    picture = pixels_of(conflict(header(10.0 * factor), scale_bar()))
    for source, columns in (("scale bar", 100), ("vendor tag", 100 / factor)):
        left, right = span(picture, COLOURS[source])
        assert right - left == pytest.approx(columns * PX, abs=4)
        assert left == pytest.approx(LEFT_PX + BAR.left * PX, abs=3)


def test_a_bar_on_the_right_has_its_lines_end_where_it_ends():
    bar = Box(top=270, left=280, bottom=274, right=380)
    picture = pixels_of(conflict(header(5.0), scale_bar(), bar=bar))
    left, right = span(picture, COLOURS["vendor tag"])
    assert right == pytest.approx(LEFT_PX + 380 * PX, abs=3)
    assert right - left == pytest.approx(200 * PX, abs=4)


def test_a_line_that_is_longer_than_the_image_runs_to_its_side_and_says_so():
    picture = pixels_of(conflict(header(0.1), scale_bar()))
    left, right = span(picture, COLOURS["vendor tag"])
    assert left == pytest.approx(LEFT_PX + BAR.left * PX, abs=3)
    assert right == pytest.approx(LEFT_PX + COLUMNS * PX, abs=12)  # the arrow's head
    colour = [int(COLOURS["vendor tag"][k : k + 2], 16) for k in (1, 3, 5)]
    head = (picture == colour).all(-1)[:, round(LEFT_PX + COLUMNS * PX)]
    assert head.sum() > 6  # the line itself has five rows
    assert "10,000px,morethanthereisroomfor" in words(picture)


def test_the_ends_of_the_bar_are_marked_on_the_image():
    """As far apart as the reading says, for the box is of whole pixels: here it is 6 px too short."""
    reading = scale_bar(1000 / 106, "1 µm = 106.0 px")
    picture = pixels_of(conflict(header(5.0), reading))
    found = (picture == [int(FOUND[k : k + 2], 16) for k in (1, 3, 5)]).all(-1)
    height = 96 + 0.5 + (BAR.top + BAR.bottom) / 2 * PX  # the title is 0.8 inches high
    columns = np.flatnonzero(found[int(height) - 5 : int(height) + 5].all(0))
    assert columns.min() == pytest.approx(LEFT_PX + 37 * PX, abs=2)
    assert columns.max() == pytest.approx(LEFT_PX + 143 * PX, abs=2)


def test_readings_stand_there_in_words():
    said = words(pixels_of(conflict(header(16.0), scale_bar())))
    for part in (
        "probe.tif",
        "factorof1.6",
        "mbyheader:62.5px",
        "mbyscalebar:100px",
        "apixelis16nm",
        "theimage6.4",
        "0.5%",
        "wide;read:[Scan]PixelWidth",
    ):
        assert part in said


def test_without_a_bar_a_round_length_is_drawn():
    """100 columns of the middle reading, 7.5 nm, are 750 nm: 500 are drawn."""
    table = ScaleReading(source="table", pixel_size_nm=10.0)
    picture = pixels_of(conflict(header(5.0), table, bar=None))
    for source, columns in (("vendor tag", 100), ("table", 50)):
        left, right = span(picture, COLOURS[source])
        assert right - left == pytest.approx(columns * PX, abs=4)
        assert left == pytest.approx(LEFT_PX, abs=3)
    assert "500nmbytable:50px" in words(picture)


def test_pixels_that_differ_in_height_alone():
    flat = ScaleReading(source="sidecar", pixel_size_nm=10.0, pixel_height_nm=20.0)
    assert "factorof2.Below" in words(pixels_of(conflict(flat, scale_bar())))


@pytest.mark.parametrize("shape", [(300, 400, 3), (900, 60), (40, 800), (30, 30)])
@pytest.mark.parametrize("name", ["a$_{b}$\\frac.tif", "試料 1.tif", "x" * 300])
def test_any_shape_and_name_is_drawn(shape, name):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    bar = Box(top=shape[0] - 8, left=2, bottom=shape[0] - 4, right=22)
    reading = scale_bar(50.0, "1 µm = 20.0 px")
    picture = pixels_of(conflict(header(5.0, "x" * 300), reading, bar=bar, name=name, image=image))
    assert picture.shape[1] == 9 * 120 and picture.shape[0] < 1600


def test_the_same_conflict_gives_the_same_bytes():
    one = conflict(header(16.0), scale_bar())
    assert draw_conflict(one) == draw_conflict(one)
