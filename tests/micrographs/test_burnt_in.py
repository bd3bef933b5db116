"""Databars and bars in whole pictures: what is printed is what is read."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from micrographia import phantoms
from micrographia.micrographs.burnt_in import read_burnt_in
from micrographia.micrographs.databar import LENGTH, find_databar, lengths_in, mended, understood
from micrographia.micrographs.words import Word
from micrographia.phantoms.databar import font
from tests.micrographs.files import texture


def word(text, left=0, top=0, wide=None, high=20):
    return Word(text, left, top, left + (wide or 10 * len(text)), top + high, 1.0)


class TestWords:
    @pytest.mark.parametrize(
        ("text", "nm"),
        [
            ("100 nm", 100),
            ("100nm", 100),
            ("2.5 nm", 2.5),
            ("0.5 um", 500),
            ("1 mm", 1e6),
            ("1\u03bcm", 1e3),
            ("5 Å", 0.5),
            ("l µm", 1e3),
            ("1O nm", 10),
            ("50x200μmWD:28.0mm", 200e3),
            ("100μm1", 100e3),
        ],
    )
    def test_a_label(self, text, nm):
        assert [found.nanometres for found in lengths_in([word(text)])] == [pytest.approx(nm)]

    @pytest.mark.parametrize("text", ["WD = 2.8 mm", "WD:28.0mm", "10 kV", "MOF-5", "x 200", "nm"])
    def test_no_label(self, text):
        assert lengths_in([word(text)]) == []

    def test_settings_in_a_line(self):
        told = understood([word("EHT = 10.00 kV"), word("WD = 5.1 mm"), word("Mag = 14.90 K X")]).instrument
        assert told.accelerating_voltage.value == 10
        assert told.working_distance.value == 5.1
        assert told.magnification == 14900

    def test_settings_below_their_headings(self):
        headings = ["HV", "mag", "WD", "HFW"]
        words = [word(h, 100 * k, 0, 30) for k, h in enumerate(headings)]
        words.append(word("5.00 kV|2 500 x|4.9 mm|18.6 μm", -20, 22, 390))
        told = understood(words)
        assert told.instrument.magnification == 2500
        assert told.instrument.working_distance.value == 4.9
        assert told.field_width.nanometres == pytest.approx(18600)
        assert told.field_width.relative_rounding == pytest.approx(0.05 / 18.6)

    @pytest.mark.parametrize(
        ("text", "times"),
        [("x200", 200), ("X 150", 150), ("2 500 x", 2500), ("60.0 kx", 60000), ("1,760 x", 1760)],
    )
    def test_magnification(self, text, times):
        assert understood([word(text)]).instrument.magnification == times

    def test_the_micro_sign_is_one(self):
        assert LENGTH.search(mended("20 \u03bcm"))[2] == "µm"


@pytest.mark.parametrize("style", ["fei", "zeiss", "tescan"])
@pytest.mark.parametrize("category", ["Particles", "Fibres", "Patterned Surface"])
def test_a_drawn_databar_is_read(style, category):
    drawn = phantoms.draw(category, 31, (512, 640), style)
    found = read_burnt_in(drawn.image)
    assert abs(found.databar_top - drawn.databar.top) <= 8
    assert found.bar.label.nanometres == pytest.approx(drawn.databar.bar_nm)
    assert found.bar.bar.length == pytest.approx(drawn.databar.bar_px, rel=0.01)
    assert found.bar.reading.pixel_size_nm == pytest.approx(drawn.pixel_size_nm, rel=0.02)
    told = found.instrument
    assert told.accelerating_voltage.value == drawn.instrument.accelerating_voltage.value
    assert told.working_distance.value == pytest.approx(drawn.instrument.working_distance.value, abs=0.06)


def test_a_databar_through_jpeg():
    drawn = phantoms.draw("Powder", 5, (512, 640), "zeiss")
    held = io.BytesIO()
    Image.fromarray(drawn.image).save(held, "JPEG", quality=80)
    found = read_burnt_in(np.asarray(Image.open(held)))
    assert found.bar.reading.pixel_size_nm == pytest.approx(drawn.pixel_size_nm, rel=0.02)


@pytest.mark.parametrize("level", [255, 0])
@pytest.mark.parametrize("label", ["200 nm", "5 µm", "10 Å"])
def test_a_bar_on_the_specimen(level, label):
    picture = Image.fromarray((60 + texture(400, 500) // 2).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((320, 350, 439, 355), fill=level)
    draw.text((380, 344), label, fill=level, font=font(28, True), anchor="ms")
    found = read_burnt_in(np.asarray(picture))
    assert found.databar_top is None
    assert found.bar.bar.length == pytest.approx(120, abs=0.5)
    assert found.bar.label.text == label


@pytest.mark.parametrize("category", phantoms.CATEGORIES)
def test_a_picture_without_print_has_none(category):
    found = read_burnt_in(phantoms.draw(category, 77, (400, 400)).image)
    assert (found.databar_top, found.bar, found.readings) == (None, None, ())


def test_a_label_that_may_be_picometres_or_micrometres_is_not_answered():
    assert lengths_in([word("5 pm")])
    picture = Image.fromarray(np.full((300, 400), 90, np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((200, 250, 299, 255), fill=255)
    draw.text((250, 244), "5 pm", fill=255, font=font(28), anchor="ms")
    assert read_burnt_in(np.asarray(picture)).bar is None


def test_the_header_says_where_the_databar_begins():
    drawn = phantoms.draw("Powder", 5, (512, 640), "fei")
    rows = 512 - drawn.databar.top
    assert read_burnt_in(drawn.image, rows).databar_top == drawn.databar.top


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_picture_has_no_databar(level):
    assert find_databar(np.full((200, 300), level, np.uint8)) is None
