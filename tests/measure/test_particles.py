"""Sizes of drawn objects against geometry, and the laws that every size obeys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from micrographia.measure.particles import (
    LEAST_DIAMETER_PX,
    Particles,
    measure_particles,
    median_interval,
    quantile_interval,
)


def disc(radius, rows=200, columns=220, middle=(100.2, 110.3)):
    r, c = np.mgrid[:rows, :columns]
    return (np.hypot(r - middle[0], c - middle[1]) < radius).astype(np.int32)


def rectangle(height, width):
    labels = np.zeros((height + 20, width + 20), np.int32)
    labels[10 : 10 + height, 10 : 10 + width] = 1
    return labels


def discs(radii, seed=0):
    """Objects apart from each other, on a grid."""
    side = int(2 * max(radii) + 8)
    across = int(np.ceil(np.sqrt(len(radii))))
    labels = np.zeros((side * across, side * across), np.int32)
    for k, radius in enumerate(radii):
        r, c = np.mgrid[:side, :side]
        place = np.s_[
            k // across * side : (k // across + 1) * side, k % across * side : (k % across + 1) * side
        ]
        labels[place][np.hypot(r - side / 2, c - side / 2) < radius] = k + 1
    return labels


def by_name(labels, pixel_nm=None):
    return {m.name: m for m in measure_particles(Particles(labels, pixel_nm))}


radii = st.lists(st.floats(6, 25), min_size=1, max_size=20)


@pytest.mark.parametrize("radius", [8, 20.5, 60])
def test_a_disc(radius):
    particles = Particles(disc(radius))
    assert particles.diameters[0] == pytest.approx(2 * radius, rel=0.01)
    largest, smallest = particles.ferets
    assert largest[0] == pytest.approx(2 * radius, abs=1.5)
    assert smallest[0] == pytest.approx(2 * radius, abs=1.5)
    assert particles.circularities[0] > 0.97
    assert particles.aspects[0] > 0.92


@pytest.mark.parametrize(("height", "width"), [(10, 40), (33, 33), (12, 100)])
def test_a_rectangle(height, width):
    particles = Particles(rectangle(height, width))
    largest, smallest = particles.ferets
    assert largest[0] == pytest.approx(np.hypot(height, width))
    assert smallest[0] == pytest.approx(min(height, width))
    perimeter = 2 * (height + width)
    # Four directions are too few for straight sides along the rows: up to 14 % too much, none on average.
    assert particles.circularities[0] == pytest.approx(4 * np.pi * height * width / perimeter**2, rel=0.15)


def test_what_the_side_cuts_is_counted_and_not_sized():
    labels = discs([15, 15, 15, 15])
    labels[:, 0] = np.where(np.arange(len(labels)) < 5, 5, labels[:, 0])
    particles = Particles(labels)
    assert (particles.count, particles.cut.tolist()) == (5, [False] * 4 + [True])
    assert by_name(labels)["particle diameter"].quantity.n == 4


def test_lengths_carry_the_scale():
    labels = discs([10, 12, 14, 16])
    pixels, nanometres = by_name(labels), by_name(labels, 2.5)
    for name in ("particle diameter", "particle largest Feret diameter"):
        assert nanometres[name].quantity.unit == "nm"
        assert nanometres[name].quantity.value == pytest.approx(2.5 * pixels[name].quantity.value)
        assert (
            nanometres[name].quantity.low == pytest.approx(2.5 * pixels[name].quantity.low)
            if pixels[name].quantity.low
            else True
        )
    assert pixels["particle diameter"].quantity.unit == "px"
    assert pixels["particle aspect ratio"].quantity == nanometres["particle aspect ratio"].quantity


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros((50, 50), np.int32), "no particle was found"),
        (np.ones((50, 50), np.int32), "all 1 particles are cut"),
        (discs([4.0] * 9), f"at least {LEAST_DIAMETER_PX:g} px are needed"),
    ],
)
def test_where_there_is_no_size_it_says_why(labels, reason):
    found = by_name(labels)
    assert reason in found["particle diameter"].refused
    assert found["particle count"].quantity is not None


def test_deciles_need_ten_particles():
    assert "at least 10" in by_name(discs([12.0] * 9))["particle diameter d10"].refused
    found = by_name(discs(np.linspace(8, 20, 40)))
    ten, middle, ninety = (found[f"particle diameter{end}"].quantity.value for end in (" d10", "", " d90"))
    assert ten < middle < ninety


@settings(deadline=None, max_examples=25)
@given(radii, st.randoms(use_true_random=False))
def test_numbering_changes_nothing(sizes, random):
    labels = discs(sizes)
    order = list(range(1, len(sizes) + 1))
    random.shuffle(order)
    renumbered = np.array([0, *order], np.int32)[labels]
    for name, first in by_name(labels).items():
        assert first.quantity == by_name(renumbered)[name].quantity


@settings(deadline=None, max_examples=25)
@given(radii)
def test_a_quarter_turn_changes_no_length(sizes):
    labels = discs(sizes)
    for name, first in by_name(labels).items():
        second = by_name(np.rot90(labels).copy())[name]
        if first.quantity:
            assert second.quantity.value == pytest.approx(first.quantity.value, rel=0.02)


@settings(deadline=None, max_examples=15)
@given(radii)
def test_twice_the_resolution_with_its_scale_changes_no_length(sizes):
    labels = discs(sizes)
    fine = labels.repeat(2, 0).repeat(2, 1)
    coarse_found, fine_found = by_name(labels, 3.0), by_name(fine, 1.5)
    for name in ("particle diameter", "particle largest Feret diameter", "particle smallest Feret diameter"):
        if coarse_found[name].quantity:
            value = coarse_found[name].quantity.value
            assert fine_found[name].quantity.value == pytest.approx(value, rel=0.02)


@given(radii)
def test_the_histogram_holds_every_whole_particle(sizes):
    particles = Particles(discs(sizes))
    diameters = particles.diameters[~particles.cut]
    assert np.histogram(diameters, 10)[0].sum() == (~particles.cut).sum() == len(sizes)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_the_interval_of_the_median_holds_it(values):
    low, high = median_interval(np.array(values))
    middle = np.median(values)
    assert low is None or low <= middle
    assert high is None or high >= middle
    assert (low is None) == (len(values) < 6)  # 2 * 0.5^n <= 0.05 from n = 6 on


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_intervals_hold_the_truth_as_often_as_they_say(share):
    rng = np.random.default_rng(0)
    truth = stats.lognorm(0.5).ppf(share)
    held = 0
    for _ in range(400):
        low, high = quantile_interval(rng.lognormal(0, 0.5, 60), share)
        held += (low is None or low <= truth) and (high is None or truth <= high)
    assert held / 400 >= 0.93
