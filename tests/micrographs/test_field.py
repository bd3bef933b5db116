"""The field of an image: without its databar, print painted over with what is around it, the scale kept."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from micrographia import phantoms
from micrographia.micrographs.field import RING, field_of, open_field
from micrographia.micrographs.ingest import ingest
from micrographia.micrographs.picture import open_picture
from micrographia.phantoms.databar import font
from micrographia.records import Box
from micrographia.workspace import Workspace
from tests.micrographs.files import colour, texture

ROWS, COLUMNS = 60, 80


def spans(longest):
    return st.tuples(st.integers(0, longest), st.integers(0, longest)).filter(lambda ends: ends[0] != ends[1])


@st.composite
def boxes(draw):
    (top, bottom), (left, right) = (sorted(draw(spans(n))) for n in (ROWS, COLUMNS))
    return Box(top=top, left=left, bottom=bottom, right=right)


def inside(box, grow=0):
    mask = np.zeros((ROWS, COLUMNS), bool)
    top, left = max(0, box.top - grow), max(0, box.left - grow)
    mask[top : box.bottom + grow, left : box.right + grow] = True
    return mask


@pytest.fixture
def on_the_specimen(tmp_path):
    """The file of a texture with a bar of 120 px and its label on it, and the texture."""
    plain = (60 + texture(400, 500) // 2).astype(np.uint8)
    picture = Image.fromarray(plain)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((320, 350, 439, 355), fill=255)
    draw.text((380, 344), "600 nm", fill=255, font=font(28, True), anchor="ms")
    picture.save(tmp_path / "printed.png")
    return tmp_path / "printed.png", plain


@settings(deadline=None, max_examples=60)
@given(boxes())
@example(Box(top=0, left=0, bottom=ROWS, right=COLUMNS))
def test_only_what_is_under_print_changes_and_it_takes_the_grey_around_it(box):
    display = texture(ROWS, COLUMNS)
    field = field_of(display, None, (box,))
    within = inside(box)
    around = inside(box, RING) & ~within
    assert np.array_equal(field[~within], display[~within])
    expected = int(np.median(display[around])) if around.any() else 0
    assert np.unique(field[within]).tolist() == [expected]


@settings(deadline=None, max_examples=60)
@given(boxes(), st.lists(boxes(), max_size=3))
def test_the_field_is_cut_out_and_the_display_left_as_it_was(cut, printed):
    display = texture(ROWS, COLUMNS)
    field = field_of(display, cut, printed)
    assert np.array_equal(display, texture(ROWS, COLUMNS))
    whole = field_of(display, None, printed)
    assert np.array_equal(field, whole[cut.top : cut.bottom, cut.left : cut.right])
    assert field.flags.c_contiguous


@settings(deadline=None, max_examples=25)
@given(boxes(), st.lists(boxes(), max_size=2))
def test_each_channel_is_painted_by_itself(cut, printed):
    display = colour(ROWS, COLUMNS)
    field = field_of(display, cut, printed)
    for channel in range(3):
        assert np.array_equal(field[..., channel], field_of(display[..., channel], cut, printed))


@pytest.mark.parametrize("style", ["fei", "zeiss", "tescan"])
def test_the_databar_is_cut_off_and_the_scale_it_told_stays(style, tmp_path):
    drawn = phantoms.draw("Particles", 31, (512, 640), style)
    Image.fromarray(drawn.image).save(tmp_path / "a.png")
    picture = open_picture(tmp_path / "a.png")
    rows = picture.box.bottom
    assert abs(rows - drawn.databar.top) <= 8
    assert np.array_equal(picture.field, drawn.image[:rows])
    assert picture.burnt_in == ()
    assert picture.scale.pixel_size_nm == pytest.approx(drawn.pixel_size_nm, rel=0.02)


def test_bar_and_label_on_the_specimen_are_painted_over_and_the_scale_they_told_stays(on_the_specimen):
    path, plain = on_the_specimen
    picture = open_picture(path)
    assert (picture.box, len(picture.burnt_in)) == (None, 2)
    assert (picture.display == 255).sum() > 120 * 6
    assert picture.field.shape == plain.shape
    assert picture.field.max() <= plain.max()
    covered = sum((box.bottom - box.top) * (box.right - box.left) for box in picture.burnt_in)
    assert (picture.field != plain).sum() <= covered
    assert covered < 0.05 * plain.size
    assert picture.scale.pixel_size_nm == pytest.approx(600 / 120, rel=0.01)


def test_a_catalogued_micrograph_has_the_same_field(on_the_specimen, tmp_path):
    path, _ = on_the_specimen
    workspace = Workspace.create(tmp_path / "lab", "workers: 1\n")
    ingest(workspace, [path])
    (micrograph,) = workspace.catalog.micrographs()
    assert np.array_equal(open_field(workspace.objects, micrograph), open_picture(path).field)
    workspace.close()
