"""What autograd keeps is counted to the byte, with layers that run again and without."""

import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from micrographia.errors import PlanError
from micrographia.tune.backward import kept_bytes, layers_to_run_again

ROWS, LAYERS = 5, 4
TENSOR = ROWS * 32 * 4
"""Bytes of what runs through the layers."""


class Layer(GradientCheckpointingLayer):
    """Of an exponential its result is saved: three, the last of which is what the next layer is given."""

    def forward(self, x, offset):
        return (x + offset).exp().exp().exp()


class Model(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x, offset):
        x = x + self.scale
        for layer in self.layers:
            x = layer(x, offset=offset)
        return SimpleNamespace(loss=x.sum())


def model():
    return Model(nn.ModuleList(Layer() for _ in range(LAYERS)))


def batch():
    return {"x": torch.full((ROWS, 32), -9.0), "offset": torch.full((ROWS, 32), -9.0)}


def test_each_tensor_that_is_saved_counts_once():
    assert kept_bytes(model(), batch()) == 3 * LAYERS * TENSOR


def test_layers_that_run_again_keep_what_they_are_given_and_one_of_them_all():
    made = model()
    given = LAYERS + 1  # the offset is given to all
    of_one = 3  # the last of which may be what the next is given
    again = layers_to_run_again(made)
    assert kept_bytes(made, batch(), again=again) == (given + of_one) * TENSOR
    assert kept_bytes(made, batch()) == 3 * LAYERS * TENSOR  # no layer is left with a hook


def test_layers_in_which_nothing_is_saved_do_not_run_again():
    made = model()
    made.scale.requires_grad_(False)
    assert kept_bytes(made, batch(), again=layers_to_run_again(made)) == 0


def test_what_layers_save_is_gone_when_they_have_run():
    """Of a layer that is measured as if it ran again, no more is held than of one that does."""
    made, alive = model(), []

    class Watched(Layer):
        def forward(self, x, offset):
            alive.append(sum(one() is not None for one in inner))
            for _ in range(3):
                x = (x + offset).exp()
                inner.append(weakref.ref(x.untyped_storage()))
            return x

    inner = []
    made.layers = nn.ModuleList(Watched() for _ in range(LAYERS))
    kept_bytes(made, batch(), again=layers_to_run_again(made))
    assert alive == [0, 1, 2, 3]  # what each has given


def test_bfloat16_copies_of_weights_that_learn_are_there_until_the_loss_is():
    class Linear(Layer):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(512, 32))

        def forward(self, x, offset):
            return x + (x + offset) @ self.weight.T @ self.weight

    made = Model(nn.ModuleList(Linear() for _ in range(LAYERS)))
    few = {name: value[:1] for name, value in batch().items()}
    single, half = (kept_bytes(made, few, bf16, layers_to_run_again(made)) for bf16 in (False, True))
    copies = LAYERS * 512 * 32 * 2
    assert half - copies < single < copies < half


def test_a_model_without_such_layers_is_refused():
    with pytest.raises(PlanError, match=r"gradient_checkpointing is true, and Linear has no layers"):
        layers_to_run_again(nn.Linear(2, 2))
