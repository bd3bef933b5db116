"""Levels are ordered and rest on measurements that exist; directions turn as the image does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micrographia.measure import measure_image
from micrographia.teach.levels import DIRECTIONS, LEVELS, direction_at, turned_angle


def test_every_level_rests_on_a_measurement_that_is_made():
    names = {m.name for m in measure_image(np.zeros((64, 64), np.uint8))}
    assert {levels.measurement for levels in LEVELS.values()} <= names


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
def test_a_level_lies_between_its_thresholds(levels):
    assert len(levels.values) == len(levels.thresholds) + 1 <= 3
    assert list(levels.thresholds) == sorted(levels.thresholds)
    for threshold, below, above in zip(levels.thresholds, levels.values, levels.values[1:], strict=False):
        assert levels.level(threshold - 1e-9) == below
        assert levels.level(threshold) == above


@pytest.mark.parametrize(
    ("angle", "direction"),
    [
        (0, "horizontal"),
        (179, "horizontal"),
        (44, "rising diagonal"),
        (91, "vertical"),
        (130, "falling diagonal"),
    ],
)
def test_the_nearest_direction(angle, direction):
    assert direction_at(angle) == direction


@given(st.floats(0, 180, exclude_max=True), st.booleans())
def test_turning_by_two_quarters_or_mirroring_twice_changes_nothing(angle, mirrored):
    def close(one, other):
        return abs((one - other + 90) % 180 - 90) < 1e-9

    assert close(turned_angle(angle, 2, False), angle)
    assert close(turned_angle(turned_angle(angle, 0, True), 0, True), angle)
    assert close(turned_angle(turned_angle(angle, 1, mirrored), 1, mirrored), angle)


def test_a_quarter_turn_swaps_horizontal_with_vertical_and_the_diagonals():
    after = [direction_at(turned_angle(45 * i, 1, False)) for i in range(4)]
    assert after == [DIRECTIONS[i] for i in (2, 3, 0, 1)]
