import pytest
import torch
from torch.utils.checkpoint import checkpoint

from micrographia.adapt.low_rank import add_low_rank
from tests.adapt.test_int8 import kept_by


def case(rank=3, dtype=torch.float32):
    torch.manual_seed(0)
    y = torch.randn(2, 5, 7, dtype=dtype, requires_grad=True)
    x = torch.randn(2, 5, 11, dtype=dtype, requires_grad=True)
    down, up = torch.randn(rank, 11, dtype=dtype), torch.randn(rank, 7, dtype=dtype, requires_grad=True)
    return y, x, down, up


def test_sum_and_gradients_are_those_of_plain_products():
    y, x, down, up = case()
    weights = torch.randn(2, 5, 7)
    ours, plain = add_low_rank(y, x, down, up, 0.5), y + 0.5 * x @ down.T @ up
    torch.testing.assert_close(ours, plain)
    gradients = [torch.autograd.grad((one * weights).sum(), (y, x, up)) for one in (ours, plain)]
    for ours_one, plain_one in zip(*gradients, strict=True):
        torch.testing.assert_close(ours_one, plain_one)


def test_bfloat16_stays_bfloat16():
    y, x, down, up = case(dtype=torch.bfloat16)
    added = add_low_rank(y, x, down, up, 0.5, 0.1)
    added.sum().backward()
    assert added.dtype == x.grad.dtype == up.grad.dtype == torch.bfloat16
    torch.testing.assert_close(
        add_low_rank(y, x, down, up, 0.5).float(),
        y.float() + 0.5 * x.float() @ down.float().T @ up.float(),
        atol=0.1,
        rtol=0.02,
    )


def dropped(p, seed=0, shape=(500, 80)):
    """Ones after dropout, and the gradient of their sum."""
    torch.manual_seed(seed)
    n = shape[-1]
    x = torch.ones(shape, requires_grad=True)
    seen = add_low_rank(torch.zeros(shape), x, torch.eye(n), torch.eye(n), 1.0, p)
    seen.sum().backward()
    return seen.detach(), x.grad


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_dropout_drops_its_share_and_the_same_places_backward(p):
    seen, gradient = dropped(p)
    torch.testing.assert_close(seen, gradient)
    assert seen.unique().tolist() == [0.0, pytest.approx(1 / (1 - p))]
    assert float((seen == 0).float().mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / seen.numel()) ** 0.5)


def test_dropout_differs_from_call_to_call_and_comes_again_with_the_generator():
    assert torch.equal(dropped(0.5, seed=1)[0], dropped(0.5, seed=1)[0])
    assert not torch.equal(dropped(0.5, seed=1)[0], dropped(0.5, seed=2)[0])


def test_neighbouring_places_are_dropped_independently():
    lost = (dropped(0.5)[0] == 0).float().flatten()
    for apart in (1, 2, 3, 4, 80):
        both = float((lost[:-apart] * lost[apart:]).mean())
        assert both == pytest.approx(0.25, abs=0.015)


def test_nothing_as_large_as_the_input_is_kept():
    y, x, down, up = (
        torch.randn(200, 64),
        torch.randn(200, 64, requires_grad=True),
        torch.randn(2, 64),
        torch.randn(2, 64, requires_grad=True),
    )
    kept = kept_by(lambda: add_low_rank(y, x, down, up, 1.0, 0.05), down, up)
    assert kept == 200 * 2 * 4 + 8  # h and the seed


def test_recomputed_in_a_checkpoint_the_gradient_is_the_same():
    y, x, down, up = case()
    gradients = []
    for run in (add_low_rank, lambda *a: checkpoint(add_low_rank, *a, use_reentrant=False)):
        torch.manual_seed(5)
        gradients.append(torch.autograd.grad(run(y, x, down, up, 0.5, 0.3).square().sum(), (x, up)))
    for direct, again in zip(*gradients, strict=True):
        torch.testing.assert_close(direct, again)


def test_the_gradient_of_the_trained_matrix_can_be_scaled():
    y, x, down, up = case()
    whole, half = (
        torch.autograd.grad(add_low_rank(y, x, down, up, 0.5, 0.0, by).sum(), (x, up)) for by in (1.0, 0.5)
    )
    torch.testing.assert_close(half[0], whole[0])
    torch.testing.assert_close(half[1], whole[1] / 2)
