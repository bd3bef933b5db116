"""Pattern, fibres, pores, grains, cracks and image quality on drawn structures whose numbers are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from micrographia import phantoms
from micrographia.measure.cracks import find_cracks, measure_cracks, skeleton_length
from micrographia.measure.grains import grain_size_number, intercepts, measure_grains
from micrographia.measure.pattern import find_lattice, measure_pattern
from micrographia.measure.pores import local_thickness, measure_pores
from micrographia.measure.quality import measure_quality


def named(measurements):
    return {m.name: m for m in measurements}


def lines(pitch, angle, side=256, noise=0.0, seed=0):
    r, c = np.mgrid[:side, :side]
    across = c * np.sin(np.radians(angle)) + r * np.cos(np.radians(angle))
    wave = 128 + 60 * np.tanh(1.5 * np.sin(2 * np.pi * across / pitch + 0.3))
    return np.clip(wave + noise * np.random.default_rng(seed).normal(size=wave.shape), 0, 255)


class TestPattern:
    @settings(deadline=None, max_examples=25)
    @given(st.floats(6, 40), st.floats(0, 179))
    def test_lines(self, pitch, angle):
        found = named(measure_pattern(lines(pitch, angle, noise=30)))
        assert found["pitch"].quantity.value == pytest.approx(pitch, rel=0.01)
        # lines run along the angle, the lattice vector across them
        turn = (found["pattern orientation"].quantity.value - (angle - 90)) % 180
        assert min(turn, 180 - turn) < 1.5

    @pytest.mark.parametrize(
        ("angle", "ratio", "symmetry"), [(90, 1, "square"), (60, 1, "hexagonal"), (90, 1.5, "rectangular")]
    )
    def test_lattices(self, angle, ratio, symmetry):
        r, c = np.mgrid[:300, :300].astype(float)
        first, second = (
            20.0 * np.array([0, 1.0]),
            20.0 * ratio * np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))]),
        )
        basis = np.linalg.inv(np.stack([first, second]))
        u, v = r * basis[0, 0] + c * basis[1, 0], r * basis[0, 1] + c * basis[1, 1]
        dots = (np.hypot(*((x - np.rint(x)) for x in (u, v))) < 0.25) * 150.0 + 50
        lattice = find_lattice(ndimage.gaussian_filter(dots, 1))
        assert lattice.symmetry == symmetry
        assert lattice.pitch == pytest.approx(20, rel=0.01)

    @pytest.mark.parametrize("seed", range(4))
    def test_nothing_repeats_in_noise(self, seed):
        rng = np.random.default_rng(seed)
        for image in (
            rng.normal(128, 30, (200, 200)),
            ndimage.gaussian_filter(rng.normal(size=(200, 200)), 4),
        ):
            assert find_lattice(image) is None
        assert "nothing repeats" in named(measure_pattern(image))["pitch"].refused

    def test_scale_and_quarter_turns(self):
        grey = lines(17.3, 30)
        pixels = named(measure_pattern(grey))["pitch"].quantity.value
        turned = named(measure_pattern(np.rot90(grey).copy(), 2.0))["pitch"].quantity
        assert (turned.unit, turned.value) == ("nm", pytest.approx(2 * pixels, rel=0.02))
        fine = named(measure_pattern(ndimage.zoom(grey, 2, order=1)))["pitch"].quantity.value
        assert fine == pytest.approx(2 * pixels, rel=0.02)

    @pytest.mark.parametrize("seed", [7001, 7002, 7005, 7008])
    def test_drawn_arrays(self, seed):
        drawn = phantoms.draw("Patterned Surface", seed, (400, 400))
        truth = drawn.truth.quantities
        assert truth["tilt_deg"].value == 0
        found = named(measure_pattern(drawn.image.astype(float)))["pitch"].quantity.value
        assert found == pytest.approx(truth["pitch_px"].value, rel=0.02)


def test_a_disc_has_its_diameter_as_local_thickness():
    r, c = np.mgrid[:100, :100]
    mask = np.hypot(r - 50, c - 50) < 30
    assert np.median(local_thickness(mask)[mask]) == pytest.approx(60, rel=0.05)


@pytest.mark.parametrize("width", [6, 11, 30])
def test_open_slits_have_their_width(width):
    mask = np.zeros((120, 240), bool)
    for left in range(20, 200, 2 * width + 10):
        mask[:, left : left + width] = True
    found = named(measure_pores(mask, 2.0))
    assert found["pore width"].quantity.value == pytest.approx(2 * width, rel=0.12)
    assert found["open area fraction"].quantity.value == pytest.approx(100 * mask.mean())


def test_no_open_area_has_no_width():
    assert named(measure_pores(np.zeros((50, 50), bool)))["pore width"].refused


class TestGrains:
    def cells(self, n=400, side=400, seed=0):
        rng = np.random.default_rng(seed)
        grid = np.indices((side, side)).reshape(2, -1).T
        return (cKDTree(rng.uniform(0, side, (n, 2))).query(grid)[1] + 1).reshape(side, side).astype(np.int32)

    def test_stripes(self):
        labels = (np.arange(300)[None] // 20 + np.zeros((300, 1), int) + 1).astype(np.int32)
        length, crossings = intercepts(labels[:, :])
        across = 2 / np.pi  # a line in a random direction crosses stripes so much less often
        assert length / crossings == pytest.approx(20 / across, rel=0.12)

    def test_random_cells_have_the_intercept_of_their_density(self):
        """Poisson-Voronoi cells: mean intercept = pi / (4 sqrt(density)) (Moller 1994)."""
        found = named(measure_grains(self.cells()))["mean lineal intercept"].quantity
        assert found.value == pytest.approx(np.pi / (4 * np.sqrt(400 / 400**2)), rel=0.08)
        assert found.low < found.value < found.high

    @pytest.mark.parametrize(("micrometres", "number"), [(320.0, 0.0), (56.6, 5.0), (10.0, 10.0)])
    def test_the_number_of_e112(self, micrometres, number):
        """ASTM E112-13, table 4: mean intercepts of 320, 56.6 and 10 µm."""
        assert grain_size_number(micrometres / 1000) == pytest.approx(number, abs=0.01)

    def test_boundaries_with_a_width_change_little(self):
        labels = self.cells()
        edge = ndimage.maximum_filter(labels, 3) != ndimage.minimum_filter(labels, 3)
        thin = named(measure_grains(labels))["mean lineal intercept"].quantity.value
        wide = named(measure_grains(np.where(edge, 0, labels)))["mean lineal intercept"].quantity.value
        assert wide == pytest.approx(thin, rel=0.02)

    def test_too_few_grains(self):
        assert "3 grains" in named(measure_grains(self.cells(3)))["mean lineal intercept"].refused

    def test_without_a_scale_there_is_no_number(self):
        assert "scale" in named(measure_grains(self.cells()))["grain-size number"].refused


class TestCracks:
    def crack(self, angle=20, wide=4, side=300, noise=6):
        r, c = np.mgrid[:side, :side] - side / 2
        along = c * np.cos(np.radians(angle)) - r * np.sin(np.radians(angle))
        across = c * np.sin(np.radians(angle)) + r * np.cos(np.radians(angle))
        line = (np.abs(across) < wide / 2) & (np.abs(along) < 100)
        rng = np.random.default_rng(0)
        return np.clip(150 - 90 * line + rng.normal(0, noise, line.shape), 0, 255)

    @pytest.mark.parametrize("angle", [0, 20, 90, 135])
    def test_a_straight_crack(self, angle):
        found = named(measure_cracks(find_cracks(self.crack(angle))))
        assert found["crack length"].quantity.value == pytest.approx(200, rel=0.06)
        assert found["crack width"].quantity.value == pytest.approx(4, abs=1.2)
        turn = (found["crack orientation"].quantity.value - angle) % 180
        assert min(turn, 180 - turn) < 3

    def test_no_crack_in_noise(self):
        grey = np.random.default_rng(0).normal(128, 20, (300, 300))
        assert "no thin line" in named(measure_cracks(find_cracks(grey)))["crack length"].refused

    def test_length_of_a_line_on_the_grid(self):
        line = np.zeros((20, 20), bool)
        line[5, 2:12] = True
        assert skeleton_length(line) == pytest.approx(9, rel=0.03)
        assert skeleton_length(np.eye(20, dtype=bool)) == pytest.approx(19 * np.sqrt(2), rel=0.03)


class TestQuality:
    @pytest.mark.parametrize("sigma", [1.5, 2.5, 4.0])
    def test_blur_of_edges(self, sigma):
        r, c = np.mgrid[:300, :300]
        sharp = np.where((r // 40 + c // 40) % 2, 200.0, 60.0)
        grey = ndimage.gaussian_filter(sharp, sigma) + np.random.default_rng(0).normal(0, 1, sharp.shape)
        assert named(measure_quality(grey))["blur"].quantity.value == pytest.approx(sigma, rel=0.2)

    def test_clipping(self):
        grey = np.full((100, 100), 128.0)
        grey[:10], grey[10:15] = 0, 255
        found = named(measure_quality(grey))
        assert found["clipped dark"].quantity.value == 10
        assert found["clipped bright"].quantity.value == 5

    def test_streaks(self):
        rng = np.random.default_rng(0)
        grey = rng.normal(128, 15, (200, 200))
        assert named(measure_quality(grey))["charging streaks"].quantity.value < 1
        grey[::20] += 40
        assert named(measure_quality(grey))["charging streaks"].quantity.value == pytest.approx(5, abs=1)
