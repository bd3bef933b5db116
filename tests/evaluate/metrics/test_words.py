import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.evaluate.metrics.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.5 µm", ("3.5", "μm")),
        ("3.5\u00b5m", ("3.5", "μm")),
        ("2.04 \u212b", ("2.04", "å")),
        ("at 25 ℃, 40 %", ("at", "25", "°c", "40", "%")),
        ("-5 °C to 10-20 nm", ("-5", "°c", "to", "10", "20", "nm")),
        ("200x200 px, 200 × 200 px", ("200", "x", "200", "px", "200", "x", "200", "px")),
        ("5000×, 5000x", ("5000", "x", "5000", "x")),
        ("rolled-in_scale, Al₂O₃ and X-ray", ("rolled-in", "scale", "al2o3", "and", "x-ray")),
        ("10⁻³ mbar, 12 µm²", ("10^-3", "mbar", "12", "μm^2")),
        ("±0.2 (≈5 kV/mm)", ("±", "0.2", "≈", "5", "kv", "/", "mm")),
        ("It’s 1,000.5.", ("it's", "1,000.5")),
        ("…!?", ()),
    ],
)
def test_numbers_units_and_compounds_stay_whole(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"), [("3.5 µm", "3.5 m"), ("2.04 Å", "2.04"), ("10²", "102"), ("90 °", "90"), ("-5", "5")]
)
def test_what_changes_a_measurement_changes_its_words(one, other):
    assert words(one) != words(other)


@given(st.text())
def test_words_of_words_are_the_same_words(text):
    once = words(text)
    assert all(once), once
    assert words(" ".join(once)) == once


@given(st.text())
def test_case_and_surrounding_space_do_not_matter(text):
    assert words(f"  {text}\n") == words(text)
    assert words(text.lower()) == words(text)
