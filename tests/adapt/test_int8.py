import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from micrographia.adapt.int8 import Int8Linear, dequantize, quantize
from micrographia.errors import PlanError


def layer(dtype=torch.float32, group_size=None, bias=True):
    torch.manual_seed(0)
    linear = nn.Linear(64, 24, bias=bias, dtype=dtype).requires_grad_(False)
    return linear, Int8Linear.from_linear(linear, group_size)


def kept_by(forward, *model):
    """Bytes that autograd keeps, without those of ``model``'s tensors."""
    own = {tensor.untyped_storage()._cdata for tensor in model}
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()
    assert result.requires_grad
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


@given(st.integers(0, 2**31), st.sampled_from([None, 1, 4, 16]), st.floats(1e-20, 1e20))
def test_every_weight_is_met_to_half_a_step(seed, group_size, size):
    weight = size * torch.randn(6, 16, generator=torch.Generator().manual_seed(seed))
    whole, scale = quantize(weight, group_size)
    met = dequantize(whole, scale, torch.float32)
    steps = scale.repeat_interleave(16 // scale.shape[1], 1)
    assert whole.dtype == torch.int8
    assert int(whole.min()) >= -127
    assert bool(((weight - met).abs() <= 0.5001 * steps).all())


def test_a_channel_of_zeros_stays_zeros():
    whole, scale = quantize(torch.zeros(2, 8))
    assert not dequantize(whole, scale, torch.float32).any()


@pytest.mark.parametrize("group_size", [None, 16])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_forward_and_backward_are_those_of_the_dequantised_weights(dtype, within, group_size):
    linear, eight = layer(dtype, group_size)
    met = nn.Linear(64, 24)
    met.weight.data = dequantize(eight.weight, eight.scale, torch.float32)
    met.bias.data = linear.bias.float()
    x, other = (torch.randn(2, 5, 64).to(dtype) for _ in range(2))
    gradient = torch.randn(2, 5, 24).to(dtype)
    results = []
    for one, at in ((eight, x), (met, x.float())):
        at = at.detach().requires_grad_()
        y = one(at)
        y.backward(gradient.to(y.dtype))
        results.append((y.float(), at.grad.float()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=within, rtol=within)
    assert eight(other).dtype == dtype


@pytest.mark.parametrize("group_size", [None, 16])
def test_autograd_keeps_nothing_beyond_weights_and_scales(group_size):
    _, eight = layer(group_size=group_size, bias=False)
    x = torch.randn(3, 64, requires_grad=True)
    assert kept_by(lambda: eight(x), eight.weight, eight.scale) == 0


def test_memory_is_half_of_bfloat16():
    eight = Int8Linear.from_linear(nn.Linear(1024, 64, bias=False))
    assert eight.weight.nbytes + eight.scale.nbytes <= 0.51 * 2 * 1024 * 64


def test_a_compiler_sees_one_operation_and_the_same_numbers():
    _, eight = layer()
    x = torch.randn(3, 64, requires_grad=True)
    eight(x).sum().backward()
    expected, x.grad = x.grad, None
    torch.compile(eight, backend="aot_eager", fullgraph=True)(x).sum().backward()
    torch.testing.assert_close(x.grad, expected)


def test_the_operation_keeps_the_contract_of_torch():
    _, eight = layer()
    x = torch.randn(3, 64, requires_grad=True)
    torch.library.opcheck(
        torch.ops.micrographia.int8_linear.default, (x, eight.weight.detach(), eight.scale.detach())
    )


def test_a_cast_of_the_model_leaves_the_scale_its_digits():
    _, eight = layer()
    exact = eight.scale.detach().clone()
    nn.Sequential(eight).to(torch.bfloat16)
    assert (eight.weight.dtype, eight.bias.dtype) == (torch.int8, torch.bfloat16)
    torch.testing.assert_close(eight.scale.detach(), exact, atol=0, rtol=0)


def test_autocast_decides_the_type():
    _, eight = layer()
    with torch.autocast("cpu", torch.bfloat16):
        assert eight(torch.randn(2, 64)).dtype == torch.bfloat16


def test_back_to_an_ordinary_layer():
    linear, eight = layer(torch.bfloat16)
    plain = eight.to_linear()
    assert plain.weight.dtype == torch.bfloat16
    torch.testing.assert_close(plain.weight, linear.weight, atol=2e-3, rtol=0)
    torch.testing.assert_close(plain.bias, linear.bias)


@pytest.mark.parametrize("group_size", [0, 5, 128])
def test_groups_that_do_not_fit_are_refused(group_size):
    with pytest.raises(PlanError, match=f"group_size is {group_size}"):
        Int8Linear.from_linear(nn.Linear(64, 24), group_size)


def test_damaged_weights_are_refused():
    linear = nn.Linear(4, 2)
    linear.weight.data[0, 0] = torch.nan
    with pytest.raises(PlanError, match="not a finite number"):
        Int8Linear.from_linear(linear)
