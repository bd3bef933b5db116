"""Drawn spots and bars are counted as drawn."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from micrographia.measure.features import bright_spots, dark_spots, line_area
from micrographia.measure.view import working_view
from micrographia.micrographs.display import luma
from tests.measure.drawn import bars, discs, stripes


def measured(definition, image):
    return definition(working_view(luma(image))).quantity.value


@settings(max_examples=20, deadline=None)
@example(0, 4, 1541)
@given(st.integers(0, 14), st.integers(4, 8), st.integers(0, 10_000))
def test_drawn_discs_are_counted(n, radius, seed):
    if n == 0:
        image = discs(1, radius=radius, grey=60, seed=seed)
        assert measured(bright_spots, image) == 0
        return
    radius = min(radius, 7 if n > 8 else 8)
    assert measured(dark_spots, discs(n, radius=radius, seed=seed)) == n
    assert measured(bright_spots, discs(n, radius=radius, ground=60, grey=180, seed=seed)) == n


def test_noise_on_an_even_ground_is_not_spots():
    image = discs(0, noise=5.0)
    assert measured(dark_spots, image) == 0
    assert measured(bright_spots, image) == 0


@pytest.mark.parametrize("n", [1, 3, 6])
def test_drawn_bars_cover_what_they_cover(n):
    assert measured(line_area, bars(n, width=6)) == pytest.approx(100 * n * 6 / 160, rel=0.35)


def test_bars_are_no_spots_and_discs_no_lines():
    assert measured(bright_spots, bars(4)) == 0
    assert measured(line_area, discs(8)) == 0


def test_an_edge_is_no_line():
    image = bars(1, width=80)
    assert measured(line_area, image) == 0


def test_stripes_in_any_direction_are_lines():
    for angle in (0, 30, 45, 90, 120):
        assert measured(line_area, stripes(angle)) > 5
