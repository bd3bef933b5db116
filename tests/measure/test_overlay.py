"""The picture of a measurement: what is drawn where, and that any image is drawn."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from micrographia.measure.overlay import BAR, GREYED, OUTLINE, Drawing, draw, draw_agreement, drawn
from micrographia.measure.overlay import CUT as CUT_COLOUR
from micrographia.measure.particles import Particles
from micrographia.records import Box

GREY = 40
WHOLE, CUT = np.s_[40:60, 50:70], np.s_[0:10, 120:140]


def labels(more=0):
    """One whole object, one that the upper side cuts, and ``more`` whole ones."""
    found = np.zeros((100, 160), np.int32)
    found[WHOLE], found[CUT] = 1, 2
    for k in range(more):
        found[80:90, 10 + 20 * k : 20 + 20 * k] = 3 + k
    return found


def pixels_of(drawing):
    with Image.open(io.BytesIO(drawn(drawing))) as picture:
        return np.asarray(picture.convert("RGB"))


def is_colour(picture, colour):
    return (picture == [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).all(-1)


@pytest.fixture(scope="module")
def image():
    return np.full((100, 160), GREY, np.uint8)


@pytest.fixture(scope="module")
def picture(image):
    """Without a title the image begins in the upper left corner, 1080 px wide for 160 columns."""
    return pixels_of(Drawing(image, Particles(labels())))


def at(picture, row, column):
    """The picture where that pixel of the image is; a margin of 0.02 inches is around it."""
    scale = (picture.shape[1] - 5) / 160
    return picture[round(3 + (row + 0.5) * scale), round(3 + (column + 0.5) * scale)]


def test_a_whole_object_is_outlined_and_seen(picture):
    assert is_colour(at(picture, 40, 60), OUTLINE) and is_colour(at(picture, 50, 50), OUTLINE)
    assert (at(picture, 50, 60) == GREY).all()


def test_a_cut_object_is_greyed_and_not_outlined(picture):
    shown = at(picture, 4, 130).astype(int)
    assert (shown > GREY + 20).all() and np.ptp(shown) < 30
    assert not is_colour(at(picture, 9, 130), OUTLINE)


def test_below_lies_the_histogram_where_enough_objects_are_whole(image, picture):
    """Five are needed: the cut one does not count."""
    assert pixels_of(Drawing(image)).shape == picture.shape
    assert pixels_of(Drawing(image, Particles(labels(3)))).shape == picture.shape
    enough = pixels_of(Drawing(image, Particles(labels(4))))
    assert enough.shape[0] > picture.shape[0] + 240
    assert is_colour(enough[-240:], OUTLINE).sum() > 5000


def test_the_ends_of_the_bar_are_marked(image):
    picture = pixels_of(Drawing(image, bar=Box(top=90, bottom=92, left=20, right=60)))
    scale = (picture.shape[1] - 5) / 160
    rows = slice(round(3 + 87 * scale), round(3 + 94 * scale))
    columns = np.flatnonzero(is_colour(picture, BAR)[rows].all(0))
    assert columns.min() == pytest.approx(3 + 20 * scale, abs=3)
    assert columns.max() == pytest.approx(3 + 60 * scale, abs=3)


def test_outlines_of_a_wide_image_are_not_lost():
    wide = np.zeros((800, 4000), np.int32)
    wide[200:600, 500:900] = 1
    picture = pixels_of(Drawing(np.full(wide.shape, GREY, np.uint8), Particles(wide)))
    found = is_colour(picture, OUTLINE)
    assert found[: picture.shape[0]].any(0).sum() > 0.09 * picture.shape[1]
    assert found.sum() > 400


@pytest.mark.parametrize("shape", [(64, 900), (900, 64), (96, 96, 3)])
@pytest.mark.parametrize("title", ["", "a$_{b}$\\frac.tif", "試料.tif"])
def test_any_shape_and_title_is_drawn(shape, title):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = np.zeros(shape[:2], np.int32)
    picture = pixels_of(Drawing(image, Particles(found), title=title, lines=["one: 1 µm", "two: 2 $"]))
    assert 500 <= picture.shape[1] <= 1080


BLUE = (0, 0, 200)
"""Nothing else in a picture has it, so it shows where the image lies."""


def blue(shape):
    return np.zeros((*shape, 3), np.uint8) + np.array(BLUE, np.uint8)


def is_near(picture, rgb):
    return (np.abs(picture.astype(int) - np.array(rgb)) <= 3).all(-1)


def place(picture):
    """First row, last row + 1, first column and last column + 1 of a blue image within its picture."""
    rows, columns = np.nonzero(is_near(picture, BLUE))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def every_pixel(picture, shape):
    """The colour in the middle of each of the image's pixels, (rows, columns, 3)."""
    top, bottom, left, right = place(picture)
    rows = top + ((np.arange(shape[0]) + 0.5) * (bottom - top) / shape[0]).astype(int)
    columns = left + ((np.arange(shape[1]) + 0.5) * (right - left) / shape[1]).astype(int)
    return picture[np.ix_(rows, columns)]


def outline(mask):
    return mask & ~ndimage.binary_erosion(mask, border_value=1)


@pytest.mark.parametrize("databar", [0, 15])
def test_each_pixel_is_of_the_image_an_outline_or_greyed(databar):
    """The field begins at the image's upper left corner: a databar below it moves no outline."""
    found = labels()
    whole, cut = outline(found == 1), outline(found == 2)
    greyed = (found == 2) & ~cut
    shape = (100 + databar, 160)
    seen = every_pixel(pixels_of(Drawing(blue(shape), Particles(found))), shape)
    grey = np.array([int(CUT_COLOUR[k : k + 2], 16) for k in (1, 3, 5)])
    assert np.array_equal(is_colour(seen[:100], OUTLINE), whole)
    assert np.array_equal(is_near(seen[:100], grey), cut)
    assert np.array_equal(is_near(seen[:100], GREYED * grey + (1 - GREYED) * np.array(BLUE)), greyed)
    assert np.array_equal(is_near(seen[:100], BLUE), ~whole & ~cut & ~greyed)
    assert is_near(seen[100:], BLUE).all()


def test_objects_that_touch_are_told_apart():
    found = np.zeros((40, 60), np.int32)
    found[10:30, 10:30], found[10:30, 30:50] = 1, 2
    seen = is_colour(
        every_pixel(pixels_of(Drawing(blue(found.shape), Particles(found))), found.shape), OUTLINE
    )
    assert seen[10:30, 29:31].all()
    assert not seen[11:29, 20].any()


def test_the_histogram_is_of_whole_objects_only():
    """Six of one size, two of another and three that are cut: two bars, one three times as high."""
    found = np.zeros((40, 300), np.int32)
    for k in range(8):
        found[20 : 30 if k < 6 else 35, 10 + 30 * k : 20 + 30 * k] = k + 1
    for k in range(3):
        found[:5, 10 + 30 * k : 15 + 30 * k] = 9 + k
    picture = pixels_of(Drawing(blue(found.shape), Particles(found)))
    bars = is_colour(picture, OUTLINE)
    bars[: place(picture)[1]] = False
    pieces, number = ndimage.label(ndimage.binary_closing(bars, iterations=4))
    heights = sorted(piece[0].stop - piece[0].start for piece in ndimage.find_objects(pieces))
    assert number == 2
    assert heights[1] / heights[0] == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("title", ["", "spheres.tif"])
@pytest.mark.parametrize("lines", [(), ("particle diameter: 5 nm", "n = 3")])
def test_the_title_stands_above_and_results_below(title, lines):
    picture = pixels_of(Drawing(blue((100, 160)), title=title, lines=lines))
    top, bottom, _, _ = place(picture)
    assert (picture[:top] < 128).any() == bool(title)
    assert (picture[bottom:] < 128).any() == bool(lines)


def test_the_file_is_what_is_drawn_and_the_same_each_time(tmp_path, image):
    drawing = Drawing(image, Particles(labels(4)), title="a")
    draw(drawing, tmp_path / "new" / "folder" / "a.png")
    assert (tmp_path / "new" / "folder" / "a.png").read_bytes() == drawn(drawing)


def test_every_pair_is_a_point_of_the_plot_of_agreement(tmp_path):
    means, differences = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, -1.0, 2.0, -2.0])
    draw_agreement(means, differences, tmp_path / "new" / "plot.png", "nm")
    with Image.open(tmp_path / "new" / "plot.png") as plot:
        picture = np.asarray(plot.convert("RGB")).astype(int)
    points = (picture[..., 0] > 200) & (picture[..., 0] - picture[..., 2] > 60)
    assert ndimage.label(points)[1] == 4
