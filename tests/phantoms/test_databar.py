"""The databar says what is true, and its bar is as long as it says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micrographia.phantoms import databar
from micrographia.phantoms.truth import DISPLAY_WIDTH_MM, length_label
from micrographia.records import Instrument, Quantity

UNITS = {"nm": 1, "µm": 1e3, "mm": 1e6}


def nanometres(label):
    number, unit = label.split()
    return float(number) * UNITS[unit]


def attach(style, cols, pixel_size_nm):
    instrument = Instrument(
        technique="SEM",
        detector="SE2",
        accelerating_voltage=Quantity(value=5, unit="kV"),
        working_distance=Quantity(value=4.2, unit="mm"),
        magnification=DISPLAY_WIDTH_MM * 1e6 / (cols * pixel_size_nm),
    )
    return databar.attach(np.zeros((100, cols), np.uint8), style, pixel_size_nm, instrument)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["fei", "zeiss", "tescan"]),
    st.integers(48, 1400),
    st.floats(0.05, 5000),
)
def test_the_bar_in_the_picture_is_as_long_as_the_truth_says(style, cols, pixel_size_nm):
    image, truth = attach(style, cols, pixel_size_nm)
    row = image[truth.bar_row] == 255
    first, last = truth.bar_left, truth.bar_left + truth.bar_px  # the columns of the two ticks
    assert row[first] and row[last]
    assert not row[first - 1] and not row[last + 1]
    assert truth.bar_nm == pytest.approx(truth.bar_px * pixel_size_nm, abs=0.51 * pixel_size_nm)
    assert nanometres(truth.label) == pytest.approx(truth.bar_nm, rel=1e-6)


@pytest.mark.parametrize("style", ["fei", "zeiss", "tescan"])
def test_a_wide_picture_has_room_for_all_fields_and_they_are_true(style):
    image, truth = attach(style, 1024, 12.5)
    assert len(truth.fields) >= 4
    text = " ".join(truth.fields.values())
    assert "5.0" in text and "4.2" in text and "SE2" in text
    if style != "zeiss":
        assert length_label(12800) in text
    assert image.shape == (truth.top + databar.height(style, 1024), 1024)


def test_a_narrow_picture_keeps_the_bar_and_drops_fields():
    printed = [len(attach("fei", cols, 10)[1].fields) for cols in (48, 160, 1024)]
    assert printed[0] < printed[1] < printed[2] == 5


def test_fields_that_are_printed_leave_ink_and_do_not_run_into_the_bar():
    image, truth = attach("tescan", 512, 10)
    strip = image[truth.top :]
    assert (strip[:, : truth.bar_left - 4] > 200).any()
    ink = np.flatnonzero(image[truth.bar_row] == 255)
    assert set(range(truth.bar_left, truth.bar_left + truth.bar_px)) <= set(ink.tolist())


@given(st.floats(1e-2, 1e8))
def test_round_lengths_fill_their_room(longest):
    length = databar.round_length(longest)
    assert longest / 2.5 * 0.999 <= length <= longest * 1.0001
    assert f"{length:.0e}"[0] in "125"


@pytest.mark.parametrize(
    ("nm", "label"), [(0.5, "0.5 nm"), (500, "500 nm"), (2000, "2 µm"), (18570, "18.6 µm"), (3e6, "3 mm")]
)
def test_lengths_are_printed_as_microscopists_print_them(nm, label):
    assert length_label(nm) == label
