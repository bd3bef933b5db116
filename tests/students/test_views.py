import numpy as np
import pytest
import torch

from micrographia.students.views import dihedral, random_views


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
    random_views(images, torch.Generator().manual_seed(0), torch.ones(8, dtype=torch.bool))
    assert torch.equal(images, before)


def test_a_view_says_how_it_was_turned():
    images = batch(32)
    views = random_views(
        images,
        torch.Generator().manual_seed(3),
        torch.ones(32, dtype=torch.bool),
        smallest_crop=1.0,
        exposure=0.0,
    )
    assert torch.allclose(views.images, dihedral(images, views.turns, views.mirrored), atol=1e-5)
    assert set(views.turns.tolist()) == {0, 1, 2, 3}
    assert set(views.mirrored.tolist()) == {False, True}


def test_what_may_not_be_turned_is_not():
    turn = torch.arange(32) % 2 == 0
    views = random_views(batch(32), torch.Generator().manual_seed(3), turn)
    assert (views.turns[~turn] == 0).all()
    assert not views.mirrored[~turn].any()
    assert views.turns[turn].any()


def test_a_crop_stays_inside_the_image():
    ramp = torch.linspace(-1, 1, 64).expand(16, 1, 64, 64)
    views = random_views(
        ramp,
        torch.Generator().manual_seed(0),
        torch.zeros(16, dtype=torch.bool),
        smallest_crop=0.5,
        exposure=0,
    ).images
    slope = (views[..., -1] - views[..., 0]).mean((1, 2)) / 2
    assert views.min() >= -1.001
    assert views.max() <= 1.001
    assert slope.min() > 0.45
    assert slope.max() < 1.02
    assert slope.std() > 0.05


def test_a_seed_gives_the_same_views():
    turn = torch.ones(8, dtype=torch.bool)
    first, second, other = (
        random_views(batch(), torch.Generator().manual_seed(s), turn).images for s in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
