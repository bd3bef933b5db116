"""What the truth says of a category is found again in the picture by other means."""

import numpy as np
import pytest
from scipy import ndimage

from micrographia import phantoms


def values(drawn):
    return {name: quantity.value for name, quantity in drawn.truth.quantities.items()}


def spectrum(image, wave_vector, reach):
    """Amplitudes at (row, column) cycles per pixel around a wave vector, ``reach`` bins of 1/side either way.

    Also the offsets of their rows and columns, a tenth of a bin apart.
    """
    off = np.arange(-10 * reach, 10 * reach + 1) / 10 / image.shape[0]
    window = np.hanning(image.shape[0])[:, None] * np.hanning(image.shape[1])[None]
    at = [np.arange(n) for n in image.shape]
    down = np.exp(-2j * np.pi * np.outer(wave_vector[0] + off, at[0]))
    right = np.exp(-2j * np.pi * np.outer(at[1], wave_vector[1] + off))
    return np.abs(down @ ((image - image.mean()) * window) @ right), off


def assert_peak(drawn, wave_vector, by=2.5):
    """The spectrum of the field has its local peak there, within a third of a bin, and it stands out."""
    image = drawn.field.astype(float)
    height, off = spectrum(image, wave_vector, 1)
    row, col = np.unravel_index(height.argmax(), height.shape)
    assert np.hypot(off[row], off[col]) * image.shape[0] < 0.35
    around, _ = spectrum(image, wave_vector, 4)
    assert height.max() > by * np.median(around)


@pytest.mark.parametrize("variety", [k.name for k in phantoms.VARIETIES["Patterned Surface"][:5]])
@pytest.mark.parametrize("seed", range(4))
def test_the_spectrum_of_a_pattern_peaks_at_its_lattice(variety, seed):
    drawn = phantoms.draw("Patterned Surface", seed, (384, 384), variety=variety)
    v = values(drawn)
    cell = np.array([[v[f"lattice_{n}_{p}_px"] for p in ("row", "col")] for n in ("a", "b")])
    reciprocal = np.linalg.inv(cell).T
    for wave in reciprocal:
        assert_peak(drawn, wave)
    if v["tilt_deg"] == 0:
        assert np.linalg.norm(cell[0]) == pytest.approx(v["pitch_px"])


@pytest.mark.parametrize("seed", range(5))
def test_the_spectrum_of_a_grating_peaks_at_its_pitch_across_its_lines(seed):
    drawn = phantoms.draw("Patterned Surface", seed, (384, 384), variety="a line grating")
    v = values(drawn)
    angle, tilt = np.deg2rad(v["orientation_deg"]), np.deg2rad(v["tilt_deg"])
    wave = np.array([np.cos(angle) / np.cos(tilt), np.sin(angle)]) / v["pitch_px"]
    assert_peak(drawn, wave)
    assert v["projected_pitch_px"] == pytest.approx(1 / np.linalg.norm(wave))


@pytest.mark.parametrize("seed", range(3))
def test_wrinkles_have_their_wavelength(seed):
    drawn = phantoms.draw("Films and Coated Surfaces", seed, (384, 384), variety="a wrinkled film")
    image = drawn.image - ndimage.gaussian_filter(drawn.image.astype(float), 60)
    power = np.abs(np.fft.fft2(image * np.hanning(384)[:, None] * np.hanning(384))) ** 2
    q = np.hypot(np.fft.fftfreq(384)[:, None], np.fft.fftfreq(384)[None])
    target = 1 / values(drawn)["wavelength_px"]
    near = power[(q > 0.75 * target) & (q < 1.25 * target)].mean()
    beside = power[(q > 1.4 * target) & (q < 1.8 * target)].mean()
    assert near > 2 * beside


@pytest.mark.parametrize("seed", range(4))
def test_aligned_fibres_lie_as_their_direction_says(seed):
    drawn = phantoms.draw("Fibres", seed, (320, 320), variety="aligned electrospun fibres")
    image = ndimage.gaussian_filter(drawn.image.astype(float), 1.5)
    down, right = np.gradient(image)
    # Fibres lie across the strongest gradient: angle of the doubled gradient plus a quarter turn.
    doubled = ((right - 1j * down) ** 2).sum()
    found = (np.rad2deg(np.angle(doubled)) / 2 + 90) % 180
    true = values(drawn)["orientation_deg"]
    assert abs((found - true + 90) % 180 - 90) < 6
    assert values(drawn)["order_parameter"] > 0.7


def test_fibre_diameters_are_those_of_the_mask():
    drawn = phantoms.draw("Nanowires", 3, (384, 384), variety="a network of straight nanowires")
    top = int(drawn.truth.objects[-1].label)
    mask = drawn.instances == top
    inner = ndimage.distance_transform_edt(np.pad(mask, 1))
    v = values(drawn)
    assert 2 * inner.max() == pytest.approx(v["diameter_mean_px"], abs=3 * v["diameter_sd_px"] + 1.5)


def test_porosity_is_the_dark_share_of_the_mask():
    drawn = phantoms.draw("Porous Sponge", 2, (256, 256), variety="an open-cell foam")
    v = values(drawn)
    assert v["porosity"] + v["area_fraction"] == pytest.approx(100)
    assert (drawn.instances > 0).mean() * 100 == pytest.approx(v["porosity"], abs=1)
    pores, walls = drawn.image[drawn.instances > 0], drawn.image[drawn.instances == 0]
    assert pores.mean() < 0.75 * walls.mean()


def test_particles_are_where_the_mask_says():
    for seed in range(4):
        drawn = phantoms.draw("Particles", seed, (256, 256))
        assert drawn.image[drawn.instances > 0].mean() > 1.3 * drawn.image[drawn.instances == 0].mean()


def test_spheres_have_round_labels_of_their_size():
    drawn = phantoms.draw("Particles", 6, (384, 384), variety="spherical particles")
    whole = [o for o in drawn.truth.objects if o.whole and o.equivalent_diameter_px > 12]
    assert whole
    for o in whole:
        rows, cols = np.nonzero(drawn.instances == o.label)
        assert np.ptp(rows) + 1 == pytest.approx(o.equivalent_diameter_px, abs=2)
        assert np.ptp(cols) + 1 == pytest.approx(o.equivalent_diameter_px, abs=2)


@pytest.mark.parametrize("seed", range(4))
def test_layers_are_as_thick_as_they_say(seed):
    """The grey of the cross-section changes at each interface, and the distances are the thicknesses."""
    drawn = phantoms.draw("Films and Coated Surfaces", seed, (384, 384), variety="a film in cross-section")
    v = values(drawn)
    thick = [v[f"layer_{k}_thickness_px"] for k in range(1, int(v["layer_count"]) + 1)]
    assert sum(thick) == pytest.approx(v["film_thickness_px"])
    rows = ndimage.gaussian_filter1d(drawn.image.astype(float).mean(axis=1), 1)
    edges = np.abs(np.diff(rows))
    # The substrate's upper face is somewhere; all interfaces above it then stand out together.
    offsets = np.concatenate([[0], np.cumsum(thick)])
    beds = range(int(offsets[-1]) + 4, 380)
    score = [sum(edges[max(0, int(bed - o) - 3) : int(bed - o) + 3].max() for o in offsets) for bed in beds]
    assert max(score) > 2.2 * np.median(score)


@pytest.mark.parametrize("seed", range(4))
def test_electrode_fingers_repeat_at_their_pitch(seed):
    drawn = phantoms.draw(
        "MEMS Devices and Electrodes", seed, (384, 384), variety="interdigitated electrodes with bond pads"
    )
    v = values(drawn)
    assert 2 * (v["finger_width_px"] + v["finger_gap_px"]) == pytest.approx(v["pitch_px"])
    angle, tilt = np.deg2rad(v["orientation_deg"]), np.deg2rad(v["tilt_deg"])
    # The fingers follow one another along the device's direction, two to a pitch.
    wave = np.array([-np.sin(angle) / np.cos(tilt), np.cos(angle)]) * 2 / v["pitch_px"]
    image = drawn.field.astype(float)
    stretch = np.linspace(0.75, 1.3, 56)
    along = [spectrum(image, wave * s, 0)[0].item() for s in stretch]
    assert stretch[np.argmax(along)] == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("seed", range(6))
def test_an_etched_tip_widens_at_its_cone_angle(seed):
    drawn = phantoms.draw("Tips", seed, (384, 384), variety="an etched metal tip")
    v = values(drawn)
    heading = np.deg2rad(v["pointing_deg"])
    ahead = np.array([-np.sin(heading), np.cos(heading)])
    at = np.argwhere(drawn.instances == 1) @ ahead
    behind = at.max() - at
    for s in (20.0, 40.0, 60.0):
        width = ((behind > s - 2) & (behind <= s + 2)).sum() / 4
        half = np.deg2rad(v["cone_angle_deg"] / 2)
        expected = 2 * np.sqrt(2 * v["apex_radius_px"] * s + (s * np.tan(half)) ** 2)
        assert width == pytest.approx(expected, rel=0.12, abs=2.5)


def test_cells_of_a_film_tile_it():
    drawn = phantoms.draw("Films and Coated Surfaces", 1, (256, 256), variety="a cracked coating")
    v = values(drawn)
    assert v["crack_area_fraction"] + v["area_fraction"] == pytest.approx(100)
    assert drawn.image[drawn.instances == 0].mean() < 0.7 * drawn.image[drawn.instances > 0].mean()
