"""Lengths as they are printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.micrographs.lengths import nanometres, parse_length, printed_quantity, printed_unit
from micrographia.records import Quantity


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("5.860 nm", 5.86),
        ("586 pm", 0.586),
        ("2.8 mm", 2.8e6),
        ("1 \u00b5m", 1e3),  # the micro sign
        ("1 \u03bcm", 1e3),  # the Greek mu
        ("1um", 1e3),
        ("2.5 Å", 0.25),
        ("2.5 \u212b", 0.25),  # the Angstrom sign
        ("7706.35 um", 7.70635e6),
        ("4.5e-3 m", 4.5e6),
    ],
)
def test_lengths(text, length):
    assert parse_length(text) == pytest.approx(length)


@pytest.mark.parametrize("text", ["", "nm", "5", "5 kV", "5 1/nm", "5 nm x", "1.2.3 nm"])
def test_what_is_no_length(text):
    assert parse_length(text) is None


@pytest.mark.parametrize("unit", ["1/nm", "eV", "", "s", "nm-1"])
def test_what_is_no_unit_of_length(unit):
    assert nanometres(unit) is None


@given(st.floats(1e-3, 1e6), st.sampled_from(["pm", "nm", "µm", "um", "mm", "Å"]))
def test_a_printed_length_is_read_back(value, unit):
    assert parse_length(f"{value!r} {unit}") == pytest.approx(value * nanometres(unit))


@pytest.mark.parametrize(
    ("length", "unit"), [(0.2, "nm"), (999.4, "nm"), (999.6, "µm"), (4.2e3, "µm"), (3e6, "mm"), (5e9, "mm")]
)
def test_the_unit_leaves_less_than_a_thousand(length, unit):
    assert printed_unit(length) == (unit, {"nm": 1, "µm": 1e3, "mm": 1e6}[unit])


@pytest.mark.parametrize(
    ("quantity", "words"),
    [
        (Quantity(value=1234, unit="nm", low=987, high=1500), ("1.23 µm", "987 nm to 1.5 µm")),
        (Quantity(value=12.345, unit="px", low=11, high=13), ("12.3 px", "11 px to 13 px")),
        (Quantity(value=0.5, low=0.4), ("0.5", "")),
        (Quantity(value=3, n=3), ("3", "")),
    ],
)
def test_a_quantity_with_its_interval(quantity, words):
    assert printed_quantity(quantity) == words
