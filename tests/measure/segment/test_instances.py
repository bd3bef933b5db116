"""From maps to particles and back, and how far maps and particles agree with each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from micrographia.measure.segment.instances import SMALLEST_PX, agreement, depth_of, particles_in
from micrographia.tune.segmenter import targets_of
from tests.measure.segment.rods import rod


def disc(radius=15, middle=(30.0, 30.0), shape=(60, 60)):
    row, column = np.mgrid[: shape[0], : shape[1]]
    return (np.hypot(row - middle[0], column - middle[1]) <= radius).astype(np.int32)


def discs(*middles, radius=12, shape=(80, 120)):
    """Numbered in their order; where two overlap, a pixel is of the one whose middle is nearer."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    away = np.stack([np.hypot(row - r, column - c) for r, c in middles])
    return np.where(away.min(0) <= radius, 1 + away.argmin(0), 0).astype(np.int32)


APART, TOUCHING = ((25, 25), (25, 80), (60, 55)), ((40, 30), (40, 50), (40, 70))
blocks = arrays.arrays(np.int32, st.tuples(st.integers(2, 5), st.integers(2, 5)), elements=st.integers(0, 3))
"""A few large squares, each of one particle or of ground."""
unit = st.floats(0, 1, width=32)


def enlarged(labels, times=4):
    return labels.repeat(times, 0).repeat(times, 1)


def numbered(labels):
    """The same particles from 1 on without gaps."""
    return (np.searchsorted(np.union1d([0], labels), labels)).astype(np.int32)


class TestDepth:
    @settings(deadline=None)
    @given(blocks)
    def test_is_0_on_the_ground_and_rises_to_1_in_each_particle(self, labels):
        labels = enlarged(labels)
        depth = depth_of(labels)
        assert np.array_equal(depth > 0, labels > 0)
        for number in np.unique(labels[labels > 0]):
            assert depth[labels == number].max() == 1

    @settings(deadline=None)
    @given(blocks.filter(lambda labels: np.unique(labels).size > 1), st.integers(1, 3))
    def test_turns_with_the_particles(self, labels, turns):
        labels = enlarged(labels)
        assert np.allclose(depth_of(np.rot90(labels, turns)), np.rot90(depth_of(labels), turns))

    def test_turns_with_a_particle_that_fills_the_image(self):
        labels = np.ones((20, 30), np.int32)
        assert np.allclose(depth_of(np.rot90(labels)), np.rot90(depth_of(labels)))

    def test_of_a_disc_falls_evenly_from_its_middle(self):
        depth = depth_of(disc(20))
        row, column = np.mgrid[:60, :60]
        expected = 1 - np.hypot(row - 30, column - 30) / 20.5
        assert np.abs(depth - expected)[depth > 0].max() < 0.06

    def test_the_side_of_the_image_is_no_outline(self):
        """Half a disc is as deep as the same half of a whole one."""
        whole = disc(20)
        assert np.allclose(depth_of(whole[:, 30:].copy()), depth_of(whole)[:, 30:])

    def test_numbers_that_are_missing_change_nothing(self):
        assert np.array_equal(depth_of(5 * disc()), depth_of(disc()))


class TestParticles:
    @pytest.mark.parametrize("middles", [APART, TOUCHING, APART[:1]])
    def test_come_back_from_their_own_maps(self, middles):
        labels = discs(*middles)
        found = particles_in(targets_of(labels))
        assert found.max() == len(middles)
        for number in range(1, len(middles) + 1):
            mask = labels == number
            (shared, *rest) = np.bincount(found[mask])[::-1]
            assert shared == mask.sum() and not any(rest)  # all of it, and all of one number

    def test_what_the_foreground_leaves_out_is_of_none(self):
        maps = targets_of(discs(*APART))
        maps[0, :, :40] = 0.4
        found = particles_in(maps)
        assert found.max() == 2
        assert not found[:, :40].any()

    def test_one_that_is_too_small_is_noise_and_leaves_no_gap(self):
        labels = discs((20, 20), (50, 50))
        labels[2:6, 2:6] = 3  # 16 pixels
        assert SMALLEST_PX > 16
        assert np.unique(particles_in(targets_of(labels))).tolist() == [0, 1, 2]

    @pytest.mark.parametrize(("dent", "number"), [(0.0, 1), (0.06, 1), (0.3, 2)])
    def test_a_dent_parts_two_where_it_is_deep(self, dent, number):
        """A ridge of depth 1 on the left and 0.9 on the right, with a valley across, 0.9 - dent deep."""
        row, column = np.mgrid[:60, :100] - np.reshape((30, 50), (2, 1, 1))
        inside = (np.abs(row) <= 12) & (np.abs(column) <= 40)
        height = np.where(column < 0, 1.0, 0.9)
        valley = np.clip(1 - np.abs(column) / 15, 0, 1) * (height - 0.9 + dent)
        depth = np.clip((height - valley) * (1 - np.abs(row) / 13), 0, 1) * inside
        maps = np.stack([inside, np.zeros_like(inside), depth]).astype(np.float32)
        assert particles_in(maps).max() == number

    @pytest.mark.parametrize("angle", [0, 10, 20, 30, 60, 90])
    def test_a_rod_is_one_whichever_way_it_lies(self, angle):
        assert particles_in(targets_of(rod(angle).astype(np.int32))).max() == 1

    def test_where_nothing_is_seen_there_are_none(self):
        maps = np.zeros((3, 40, 50), np.float32)
        found = particles_in(maps)
        assert found.shape == (40, 50)
        assert not found.any()
        assert agreement(maps, found).shape == (0,)


class TestAgreement:
    def test_is_1_for_the_maps_of_the_labels_themselves(self):
        labels = discs(*TOUCHING)
        assert agreement(targets_of(labels), labels) == pytest.approx(np.ones(3))

    def test_is_0_where_the_foreground_is_a_coin_toss(self):
        labels = discs(*APART)
        maps = targets_of(labels)
        maps[0] = 0.5
        assert agreement(maps, labels) == pytest.approx(np.zeros(3))

    @pytest.mark.parametrize("depth", [0.0, 1.0])
    def test_is_low_where_depth_is_even(self, depth):
        labels = discs(*APART)
        maps = targets_of(labels)
        maps[2] = depth
        assert agreement(maps, labels).max() < 0.2

    def test_is_lower_for_outlines_that_are_not_those_seen(self):
        """Two discs seen and taken for one, and one seen and cut in halves."""
        seen = discs((40, 45), (40, 60))
        as_one = (seen > 0).astype(np.int32)
        assert agreement(targets_of(seen), as_one)[0] < 0.8
        assert agreement(targets_of(as_one), seen).max() < 0.8

    def test_is_of_each_particle_by_itself(self):
        labels = discs(*APART)
        maps = targets_of(labels)
        maps[2][labels == 2] = 0
        assert agreement(maps, labels) == pytest.approx([1, 0, 1])

    @settings(deadline=None)
    @given(blocks, arrays.arrays(np.float32, (3, 20, 20), elements=unit))
    def test_is_between_0_and_1_one_for_each_particle(self, labels, maps):
        labels = numbered(enlarged(labels))
        rows, columns = labels.shape
        each = agreement(maps[:, :rows, :columns], labels)
        assert each.shape == (labels.max(),)
        assert ((each >= 0) & (each <= 1)).all()
