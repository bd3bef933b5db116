"""Widths across fibres: right on drawn ones, turned, enlarged, touching; none where there are no fibres."""

import numpy as np
import pytest
from scipy import ndimage

from micrographia import phantoms
from micrographia.measure.fibres import Widths, find_widths, measure_fibres, weighted_quantile, widths_in
from tests.measure.drawn import discs


def named(measurements):
    return {m.name: m for m in measurements}


def fibres(width, angle, side=512, noise=6.0, seed=0):
    """Straight fibres, round and brighter at their sides, here and there, ``angle`` degrees anticlockwise."""
    rng = np.random.default_rng(seed)
    r, c = np.mgrid[:side, :side] - side / 2
    across = c * np.sin(np.radians(angle)) + r * np.cos(np.radians(angle))
    grey = np.full((side, side), 50.0)
    middles = np.arange(-0.75 * side, 0.75 * side, 2.6 * width)
    for middle in middles + rng.uniform(-0.6, 0.6, middles.size) * width:
        rho = np.abs(across - middle) / (width / 2)
        grey = np.where(rho < 1, 130 + 70 * rho**6 + rng.normal(0, 8), grey)
    grey = ndimage.gaussian_filter(grey, 0.7) + rng.normal(0, noise, grey.shape)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def maps(width, side=128):
    """What a perfect network sees of one upright fibre."""
    off = np.abs(np.arange(side) - side / 2 + 0.5)
    depth = np.clip(1 - off / (width / 2), 0, 1)
    outline = np.exp(-(((off - width / 2) / 0.8) ** 2))
    return np.stack([np.tile(row, (side, 1)) for row in (off < width / 2, outline, depth)]).astype(np.float32)


@pytest.mark.parametrize("width", [12, 17.5, 30])
def test_widths_of_perfect_maps_are_exact(width):
    found = widths_in(maps(width))
    assert found.median == pytest.approx(width, abs=0.1)
    assert np.allclose(found.directions, 90, atol=1)
    assert found.confidence > 0.9


def test_a_fibre_half_hidden_has_no_whole_width():
    seen = maps(30)
    seen[1, :, :64] = 0
    seen[1, :, 60] = 1  # the outline of what lies on it, nearer to its axis than its own
    assert widths_in(seen).widths.size == 0


@pytest.mark.parametrize("angle", [0, 33, 90])
@pytest.mark.parametrize("width", [10, 18, 30])
def test_straight_fibres(angle, width):
    found = named(measure_fibres(find_widths(fibres(width, angle)), 2.0))
    diameter = found["fibre diameter"].quantity
    assert diameter.value == pytest.approx(2 * width, rel=0.06)
    assert diameter.unit == "nm"
    assert diameter.n >= 20
    assert found["fibre diameter d10"].quantity.value <= diameter.value
    assert diameter.value <= found["fibre diameter d90"].quantity.value
    assert found["fibre order"].quantity.value > 0.85
    turn = (found["fibre orientation"].quantity.value - angle) % 180
    assert min(turn, 180 - turn) < 3


@pytest.mark.parametrize("seed", [4, 6])
def test_turning_and_enlarging_change_no_width_by_more_than_two_per_cent(seed):
    image = phantoms.draw("Fibres", seed, (400, 400)).field
    plain = find_widths(image)
    assert plain.refusal is None
    turned = find_widths(np.ascontiguousarray(np.rot90(image)))
    assert turned.median == pytest.approx(plain.median, rel=0.02)
    twice = find_widths(np.kron(image, np.ones((2, 2), np.uint8)))
    assert twice.median / 2 == pytest.approx(plain.median, rel=0.02)


def test_the_image_without_fibres_is_refused():
    noise = np.random.default_rng(1).integers(0, 255, (200, 200)).astype(np.uint8)
    for image in (np.full((100, 100), 90, np.uint8), noise, discs(20, radius=9, shape=(300, 300))):
        refused = named(measure_fibres(find_widths(image)))
        assert refused["fibre diameter"].quantity is None
        assert refused["fibre diameter"].refused == refused["fibre order"].refused


def test_places_are_squares_of_four_widths():
    points = np.stack([np.full(200, 5.0), np.arange(200.0)], 1)
    found = Widths(points, np.full(200, 10.0), np.zeros(200), np.ones(200), 1.0)
    assert found.n_places == 5
    assert np.bincount(found.places).tolist() == [40] * 5


def test_the_interval_holds_the_median_and_widens_with_the_spread_between_places():
    points = np.stack([np.full(4000, 5.0), np.arange(4000.0)], 1)

    def with_widths(widths):
        return Widths(points, widths, np.zeros(4000), np.ones(4000), 1.0)

    rng = np.random.default_rng(0)
    even, uneven = (with_widths(10 + s * np.repeat(rng.normal(size=100), 40)) for s in (0.1, 1.0))
    for found in (even, uneven):
        low, high = found.interval
        assert low <= found.median <= high
    assert np.ptp(uneven.interval) > 5 * np.ptp(even.interval)


def test_a_weighted_quantile_is_the_value_at_that_share_of_the_weight():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 8.0])
    assert [weighted_quantile(values, weights, share) for share in (0.05, 0.5, 0.95)] == [1.0, 2.0, 3.0]
