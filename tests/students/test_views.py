import numpy as np
import pytest
import torch

from micrographia.students.image_statistics import standardise
from micrographia.students.views import dihedral, random_views, random_windows


def batch(count: int = 8, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 1, size, size, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_mirror_first_then_turn_counter_clockwise_as_numpy_does(turns, mirrored):
    images = batch(2)
    views = dihedral(images, torch.full((2,), turns), torch.full((2,), mirrored))
    image = images[0, 0].numpy()
    np.testing.assert_array_equal(
        views[0, 0].numpy(), np.rot90(np.fliplr(image) if mirrored else image, turns)
    )


def test_each_image_is_turned_its_own_way():
    images = batch(8)
    turns, mirrored = torch.arange(8) % 4, torch.arange(8) >= 4
    views = dihedral(images, turns, mirrored)
    for i in range(8):
        alone = dihedral(images[i : i + 1], turns[i : i + 1], mirrored[i : i + 1])
        assert torch.equal(views[i : i + 1], alone)


def test_the_given_images_are_left_as_they_were():
    images = batch()
    before = images.clone()
    dihedral(images, torch.ones(8, dtype=torch.long), torch.zeros(8, dtype=torch.bool))
    random_views(images, torch.Generator().manual_seed(0))
    assert torch.equal(images, before)


def test_a_view_says_how_it_was_turned():
    images = batch(32)
    views = random_views(images, torch.Generator().manual_seed(3), sides=(1.0, 1.0))
    assert torch.allclose(views.images, dihedral(images, views.turns, views.mirrored), atol=1e-5)
    assert set(views.turns.tolist()) == {0, 1, 2, 3}
    assert set(views.mirrored.tolist()) == {False, True}


def test_a_smaller_window_shows_a_part_of_the_image_enlarged():
    ramp = torch.linspace(-1, 1, 64).expand(32, 1, 64, 64)
    views = random_windows(ramp, torch.Generator().manual_seed(0), (0.5, 1.0))
    seen = (views[..., -1] - views[..., 0]).mean((1, 2)) / 2
    assert views.abs().max() <= 1.001
    assert 0.45 < seen.min() < 0.6
    assert 0.9 < seen.max() < 1.001


def test_in_a_larger_window_the_image_goes_on_mirrored():
    ramp = torch.linspace(-1, 1, 64).expand(8, 1, 64, 64)
    views = random_windows(ramp, torch.Generator().manual_seed(0), (2.0, 2.0))
    travelled = views.diff(dim=3).abs().sum(3)  # up and down again: twice the range of 2
    assert views.abs().max() <= 1.001
    assert (travelled - 4).abs().max() < 0.2


def test_a_view_is_as_bright_and_as_contrasted_as_its_image():
    images = 0.3 * batch(16, 32) + torch.linspace(-0.5, 0.5, 16)[:, None, None, None]
    views = random_views(images, torch.Generator().manual_seed(0)).images
    assert torch.allclose(standardise(views)[1], standardise(images)[1], atol=1e-4)


def test_a_seed_gives_the_same_views():
    first, second, other = (random_views(batch(), torch.Generator().manual_seed(s)).images for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
