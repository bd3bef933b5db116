import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from micrographia.students.image_statistics import (
    BANDS,
    EXPOSURE,
    FLAT,
    LARGEST,
    SHARES,
    TEXTURE,
    Normalised,
    exposure,
    standardise,
    texture,
)

ENERGY, EVENNESS, SKEWNESS, KURTOSIS, COSINE, SINE, COHERENCE = range(7)


def pictures(count: int = 3, channels: int = 1, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(count, channels, 64, 64, generator=torch.Generator().manual_seed(seed))


def octaves(images: Tensor) -> Tensor:
    """(B, BANDS, 7): the last part of ``texture``, an octave a row."""
    return texture(images)[:, -7 * BANDS :].unflatten(1, (BANDS, 7))


def waves(period: float, across: float = 1.0, down: float = 0.0) -> Tensor:
    """One image of waves; ``across`` and ``down`` say which way they run."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return 0.5 * torch.sin(2 * torch.pi * (across * columns + down * rows) / period)[None, None]


def test_standardised_images_have_zero_mean_and_unit_deviation():
    images, removed = standardise(0.3 * pictures() + 0.4)
    assert torch.allclose(images.mean((1, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std((1, 2, 3), correction=0), torch.ones(3), atol=1e-5)
    assert torch.allclose(removed[:, 0], torch.full((3,), 0.4), atol=0.01)
    assert torch.allclose(removed[:, 1].exp(), torch.full((3,), 0.06), atol=0.01)


def test_noise_below_one_grey_level_is_not_blown_up():
    images, _ = standardise(0.1 * FLAT * torch.randn(2, 1, 32, 32))
    assert images.abs().max() < 1


@pytest.mark.parametrize("channels", [1, 3])
def test_the_shapes_are_the_announced_ones(channels):
    assert exposure(pictures(channels=channels)).shape == (3, EXPOSURE)
    assert texture(pictures(channels=channels)).shape == (3, TEXTURE)


@settings(max_examples=20, deadline=None)
@given(contrast=st.floats(0.2, 3), brightness=st.floats(-0.8, 0.8))
def test_brightness_and_contrast_do_not_change_the_texture(contrast, brightness):
    images = pictures()
    assert torch.allclose(texture(images), texture(contrast * images + brightness), atol=0.02)


def test_exposure_gives_quantiles_mean_and_deviation():
    ramp = torch.linspace(-1, 1, 64 * 64).view(1, 1, 64, 64)
    told = exposure(ramp)[0]
    expected = 2 * torch.tensor(SHARES) - 1
    assert torch.allclose(told[: len(SHARES)], expected, atol=1e-3)
    assert torch.allclose(told[len(SHARES) :], torch.tensor([0.0, math.log((1 / 3) ** 0.5)]), atol=1e-3)


@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_a_flat_image_has_finite_statistics(level):
    flat = torch.full((2, 1, 64, 64), level)
    assert torch.isfinite(exposure(flat)).all()
    assert torch.isfinite(texture(flat)).all()


@pytest.mark.parametrize(("period", "octave"), [(3, 0), (7, 1), (14, 2), (28, 3)])
def test_waves_have_their_energy_in_the_octave_of_their_period(period, octave):
    assert octaves(waves(period))[0, :, ENERGY].argmax() == octave


@pytest.mark.parametrize(
    ("across", "down", "cosine", "sine"), [(1, 0, 1, 0), (0, 1, -1, 0), (0.7, 0.7, 0, 1), (0.7, -0.7, 0, -1)]
)
def test_the_direction_of_waves_is_told_by_its_double_angle(across, down, cosine, sine):
    finest = octaves(waves(12, across, down))[0, 0]
    assert torch.allclose(finest[[COSINE, SINE, COHERENCE]], torch.tensor([cosine, sine, 1.0]), atol=0.02)


def test_a_quarter_turn_turns_directions_and_nothing_else():
    images = pictures() + waves(9, 0.9, 0.3)
    plain, turned = octaves(images), octaves(images.rot90(dims=(2, 3)))
    upright = [ENERGY, EVENNESS, SKEWNESS, KURTOSIS, COHERENCE]
    assert torch.allclose(plain[:, :, upright], turned[:, :, upright], atol=1e-4)
    assert torch.allclose(plain[:, :, [COSINE, SINE]], -turned[:, :, [COSINE, SINE]], atol=1e-4)


def test_structure_in_one_corner_is_uneven():
    even = pictures(1)
    corner = even.clone()
    corner[:, :, 32:] = corner[:, :, :, 32:] = 0
    assert octaves(corner)[0, 0, EVENNESS] > 3 * octaves(even)[0, 0, EVENNESS]


def test_a_few_bright_specks_are_skewed_and_heavy_tailed():
    specks = torch.zeros(1, 1, 64, 64)
    specks[0, 0, 5::16, 5::16] = 1
    finest, noise = octaves(specks)[0, 0], octaves(pictures(1))[0, 0]
    assert finest[SKEWNESS] > noise[SKEWNESS] + 1
    assert finest[KURTOSIS] > noise[KURTOSIS] + 1
    assert octaves(-specks)[0, 0, SKEWNESS] == pytest.approx(-float(finest[SKEWNESS]), abs=1e-4)


def test_statistics_come_in_units_of_their_spread_over_the_training_images():
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([9, 0.1, 0])
    usual = Normalised(3)
    usual.settle(values + torch.tensor([5.0, -2.0, 7.0]))
    seen = usual(values + torch.tensor([5.0, -2.0, 7.0]))
    assert torch.allclose(seen.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(seen.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-3)


def test_what_differs_by_rounding_alone_stays_at_zero():
    usual = Normalised(1)
    usual.settle(torch.tensor([[3.0], [3.0], [3.0 + 1e-6]]))
    assert usual(torch.tensor([[3.0 + 2e-6]])).abs() < 0.01


def test_what_is_very_unusual_counts_no_more_than_what_is_unusual():
    usual = Normalised(1)
    usual.settle(torch.tensor([[-1.0], [1.0]]))
    assert usual(torch.tensor([[100.0], [-100.0]])).flatten().tolist() == [LARGEST, -LARGEST]
