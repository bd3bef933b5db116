"""Solids, tubes, fields and the tilted stage have the geometry they claim."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from micrographia.phantoms.fields import border_distance, cells, rough, scattered, soften
from micrographia.phantoms.lattices import Lattice
from micrographia.phantoms.relief import Stage, box, tilted
from micrographia.phantoms.scene import Scene, View, random_rotation
from micrographia.phantoms.solids import ball, cube_planes, resampled, shard_planes, sized, tube, walk
from micrographia.phantoms.tips import cone_radius
from micrographia.phantoms.truth import directions


def view(shape=(120, 100)):
    streams = [np.random.default_rng(k) for k in range(3)]
    return View("a test", shape, 1.0, 10.0, *streams)


def offsets(reach):
    at = np.arange(-reach, reach + 1, dtype=np.float32)
    return at[:, None], at[None]


def test_a_ball_has_the_area_of_its_disc_and_the_height_of_its_radius():
    height = ball(20)(*offsets(25))
    assert np.isfinite(height).sum() == pytest.approx(np.pi * 400, rel=0.01)
    assert height.max() == 20


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_a_cube_in_any_position_shows_its_projected_area(seed):
    """The shadow of a cube of edge a is a² (|x| + |y| + |z|) for a view along (x, y, z)."""
    rotation = random_rotation(np.random.default_rng(seed))
    shown = np.isfinite(sized(cube_planes(), 20.0, rotation)(*offsets(40))).sum()
    assert shown == pytest.approx(1600 * np.abs(rotation[2]).sum(), rel=0.04)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_rotations_are_rotations(seed):
    matrix = random_rotation(np.random.default_rng(seed))
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_shard_is_convex(seed):
    rng = np.random.default_rng(seed)
    height = sized(shard_planes(rng), 20.0, random_rotation(rng))(*offsets(60))
    inside = np.argwhere(np.isfinite(height))
    pairs = inside[rng.integers(len(inside), size=(200, 2))]
    even = pairs[((pairs[:, 0] + pairs[:, 1]) % 2 == 0).all(axis=1)]
    middle = even.sum(axis=1) // 2
    tops = [height[tuple(p)] for p in (even[:, 0].T, even[:, 1].T, middle.T)]
    assert (tops[2] >= (tops[0] + tops[1]) / 2 - 1e-3).all()


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.1, np.pi / 2])
def test_a_tube_is_as_wide_as_its_diameter(angle):
    scene = Scene.flat((160, 160), 0.1)
    path = walk((80, 80), angle, 100, 0.0, np.random.default_rng(0), step=0.7)
    tube(scene, path, 7.5, 0.0, 1.0, 1)
    length = np.linalg.norm(path[-1] - path[0])
    assert (scene.label == 1).sum() / length == pytest.approx(15, rel=0.06)
    assert scene.height.max() == pytest.approx(7.5, abs=0.2)


def test_a_tube_is_an_object_of_its_swept_area():
    scene = Scene.flat((160, 160), 0.1)
    inside = walk((80, 80), 0.5, 90, 0.0, np.random.default_rng(0), step=0.7)
    beyond = walk((20, 20), 0.5, 90, 0.0, np.random.default_rng(0), step=0.7)
    for path in (inside, beyond):
        tube(scene, path, 6.0, 0.0, 1.0, scene.new_label())
    objects = scene.objects()
    assert [o.whole for o in objects] == [True, False]
    for o in objects:
        assert np.pi / 4 * o.equivalent_diameter_px**2 == pytest.approx(90 * 12, rel=0.06)
    assert objects[1].visible_px < 0.8 * 90 * 12


def test_parts_carry_the_label_of_their_object_but_do_not_count_in_its_outline():
    scene = Scene.flat((60, 60), 0.1)
    label = scene.new_label()
    scene.put(ball(10), (30, 25), 10, 0, 0.5, label)
    scene.put(ball(4), (30, 36), 4, 0, 0.5, label)
    (grain,) = scene.objects()
    assert grain.equivalent_diameter_px == pytest.approx(20, rel=0.02)
    assert grain.visible_px > np.pi * 100
    assert not grain.whole


def test_what_is_higher_hides_what_is_lower():
    scene = Scene.flat((60, 60), 0.1)
    scene.put(ball(10), (30, 25), 10, 20, 0.5, scene.new_label())
    scene.put(ball(10), (30, 35), 10, 0, 0.7, scene.new_label())
    objects = scene.objects()
    assert [o.whole for o in objects] == [True, False]
    assert objects[1].visible_px < objects[0].visible_px
    assert objects[1].equivalent_diameter_px == pytest.approx(20, rel=0.02)


def test_what_is_all_hidden_is_no_object():
    scene = Scene.flat((60, 60), 0.1)
    scene.put(ball(5), (30, 30), 5, 0, 0.5, scene.new_label())
    scene.put(ball(12), (30, 30), 12, 20, 0.5, scene.new_label())
    assert [o.label for o in scene.objects()] == [1]
    assert scene.label.max() == 1


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 179), st.floats(0, 60))
def test_turning_lines_turns_their_mean_direction_and_not_their_order(turn, spread):
    angles = np.random.default_rng(1).normal(40, spread, 50)
    before, after = directions(angles), directions(angles + turn)
    moved = after["orientation_deg"].value - before["orientation_deg"].value - turn
    assert (moved + 90) % 180 - 90 == pytest.approx(0, abs=1e-6)
    assert after["order_parameter"].value == pytest.approx(before["order_parameter"].value)


def test_a_parallel_bundle_has_order_one_and_a_cross_has_none():
    assert directions(np.full(5, 170.0))["order_parameter"].value == pytest.approx(1)
    assert directions(np.array([20.0, 110.0]))["order_parameter"].value == pytest.approx(0, abs=1e-9)


def test_rough_is_normalised_and_keeps_to_its_wavelengths():
    field = rough((128, 96), np.random.default_rng(0), hurst=0.5, finest=8)
    assert field.shape == (128, 96)
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, rel=1e-3)
    assert np.diff(field, axis=0).std() < 0.5


def test_soften_is_nearly_gaussian():
    point = np.zeros((101, 101), np.float32)
    point[50, 50] = 1
    spread = soften(point, 6.0)
    away = np.arange(101) - 50
    assert spread.sum() == pytest.approx(1, rel=1e-4)
    assert np.sqrt((spread.sum(axis=0) * away**2).sum()) == pytest.approx(6, rel=0.06)


def test_border_distance_is_zero_where_two_points_are_equally_near():
    points = np.array([[50.0, 20.0], [50.0, 60.0], [500.0, 40.0]])
    index, near = cells((100, 100), points)
    border = border_distance(points, index, near)
    assert border[50, 40] == pytest.approx(0, abs=1e-4)
    assert border[50, 47] == pytest.approx(7, abs=1e-3)


def test_scattered_points_have_the_asked_spacing():
    points = scattered((1000, 1000), 50, np.random.default_rng(0), 0.1)
    density = len(points) / (1000 + 200) ** 2
    assert 1 / np.sqrt(density) == pytest.approx(50, rel=0.1)


def test_resampled_points_are_evenly_apart():
    path = walk((50, 50), 0.3, 120, 0.3, np.random.default_rng(2), step=3.0)
    steps = np.linalg.norm(np.diff(resampled(path, 0.5), axis=0), axis=1)
    assert steps.mean() == pytest.approx(0.5, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 180), st.floats(12, 40), st.sampled_from([60.0, 75.0, 90.0]), st.floats(1, 1.6))
def test_the_nearest_lattice_point_is_the_nearest(turn, pitch, opening, stretch):
    one, two = np.deg2rad(turn), np.deg2rad(turn + opening)
    first = pitch * np.array([-np.sin(one), np.cos(one)])
    second = stretch * pitch * np.array([-np.sin(two), np.cos(two)])
    lattice = Lattice("any", first, second, np.array([3.0, 5.0]))
    row, col, _ = lattice.nearest((60, 60))
    steps = np.arange(-20, 21)
    points = lattice.origin + (steps[:, None, None] * first + steps[None, :, None] * second).reshape(-1, 2)
    true = cKDTree(points).query(np.indices((60, 60)).reshape(2, -1).T)[0].reshape(60, 60)
    assert np.allclose(np.hypot(row, col), true, atol=1e-3)


def test_no_tilt_changes_nothing():
    stage = Stage(view(), 0.0, 10.0)
    plane = Scene.flat(stage.shape, 0.4)
    plane.height[20:40, 20:40] = 10
    assert np.array_equal(tilted(plane, stage).height, plane.height[:120])


@pytest.mark.parametrize("tilt", [20.0, 45.0])
def test_tilt_foreshortens_rows_and_lifts_what_is_high(tilt):
    """A point at row r and height h comes to lie at r cos t - h sin t."""
    stage = Stage(view(), tilt, 20.0)
    cosine, sine = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    plane = Scene.flat(stage.shape, 0.4)
    plane.height[60:90, 30:60] = 20
    plane.label[60:90, 30:60] = 1
    plane.label[100:110, 70:80] = 2
    scene = tilted(plane, stage)
    on_ground = np.flatnonzero(scene.label[:, 75] == 2)
    assert on_ground[0] == pytest.approx((100 - 0.5) * cosine - 0, abs=1.5)
    assert on_ground.size == pytest.approx(10 * cosine, abs=1.5)
    raised = np.flatnonzero(scene.label[:, 45] == 1)
    assert raised[0] == pytest.approx(60 * cosine - 20 * sine, abs=1.5)
    # The front wall is seen as well as the top.
    assert raised.size >= 30 * cosine - 1


def test_an_even_plane_stays_even_when_tilted():
    stage = Stage(view(), 40.0, 5.0)
    plane = Scene.flat(stage.shape, 0.4)
    slope = np.diff(tilted(plane, stage).height, axis=0)
    assert np.allclose(slope, np.tan(np.deg2rad(40.0)), atol=1e-3)


def test_a_box_is_positive_inside():
    at = np.meshgrid(np.arange(-10.0, 11), np.arange(-10.0, 11), indexing="ij")
    inside = box((at[0], at[1]), (-5, 5), (0, 8))
    assert inside.max() == 4
    assert (inside > 0).sum() == 9 * 7


def test_a_cone_is_round_at_its_apex_and_straight_far_from_it():
    along = np.array([0.01, 1e5, 2e5])
    radius = cone_radius(along, 10.0, np.deg2rad(15))
    assert radius[0] ** 2 / (2 * along[0]) == pytest.approx(10, rel=1e-3)
    assert np.rad2deg(np.arctan((radius[2] - radius[1]) / 1e5)) == pytest.approx(15, rel=1e-3)
