import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from micrographia.errors import StudentError
from micrographia.tune.checkpoint import TRAINED, read_trained, write_trained


def model(width=3, seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
    made[0].requires_grad_(False)
    return made


def test_it_holds_what_is_trained_and_the_buffers(tmp_path):
    write_trained(model(), tmp_path)
    assert sorted(load_file(tmp_path / TRAINED)) == [
        *("1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight"),
        *("2.bias", "2.weight"),
    ]


def test_it_is_put_back_and_what_is_frozen_left_alone(tmp_path):
    one, other = model(seed=1), model(seed=2)
    one(torch.randn(8, 4))  # moves the running mean
    frozen = other[0].weight.clone()
    write_trained(one, tmp_path)
    read_trained(other, tmp_path)
    assert torch.equal(other[2].weight, one[2].weight)
    assert torch.equal(other[1].running_mean, one[1].running_mean)
    assert torch.equal(other[0].weight, frozen)
    assert other[2].weight.requires_grad


def test_that_of_another_model_is_refused_with_counts(tmp_path):
    write_trained(model(), tmp_path)
    with pytest.raises(StudentError, match="has 7 tensors, of which 2 match the 7 trained ones"):
        read_trained(model(width=5), tmp_path)
    whole = model()
    whole.requires_grad_()
    with pytest.raises(StudentError, match="has 7 tensors, of which 7 match the 9 trained ones"):
        read_trained(whole, tmp_path)
