import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from micrographia.students.configuration import VisionConfig
from micrographia.students.vision import LabelledVision
from micrographia.tune.muon import Muon, orthogonal


def taken_as_matrices(optimizer: Muon, model: nn.Module) -> set[str]:
    taken = {id(p) for group in optimizer.param_groups if group["muon"] for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in taken}


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 40), columns=st.integers(2, 40), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99)
)
def test_all_large_singular_values_become_about_one(rows, columns, scale, seed):
    matrix = scale * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    before = torch.linalg.svdvals(matrix)
    after = torch.linalg.svdvals(orthogonal(matrix))
    assert after.max() < 1.3
    if before.min() > 0.05 * before.norm():
        assert after.min() > 0.6


def test_singular_vectors_are_kept():
    matrix = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonal(matrix) @ v.T
    off_diagonal = turned - turned.diag().diag()
    assert off_diagonal.abs().max() < 1e-3


def test_matrices_of_hidden_layers_are_its_own_and_the_rest_is_adamws():
    model = LabelledVision(VisionConfig.default(labels={"class": ["a", "b"]}))
    taken = taken_as_matrices(Muon(model), model)
    assert "encoder.layers.0.attention.project_in.weight" in taken
    assert "encoder.embedding.1.0.weight" in taken
    assert "encoder.embedding.0.0.weight" not in taken  # nine grey levels in
    head = "encoder.findings.heads.class.weight"  # two classes out
    assert head in dict(model.named_parameters()) and head not in taken
    assert not any("norm" in name or "bias" in name or name == "encoder.rows" for name in taken)


def test_an_embedding_tied_to_a_head_is_not_a_matrix():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(64, 32)
            self.hidden = nn.Linear(32, 32)
            self.head = nn.Linear(32, 64)
            self.head.weight = self.words.weight

    model = Tied()
    assert taken_as_matrices(Muon(model), model) == {"hidden.weight"}


def test_what_is_no_matrix_moves_as_under_adamw():
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    twin = copy.deepcopy(model)
    ours = Muon(model, learning_rate=0.01, weight_decay=0.1)
    theirs = torch.optim.AdamW(
        [{"params": [twin.weight], "weight_decay": 0.1}, {"params": [twin.bias], "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.99),
    )
    for _ in range(5):
        inputs = torch.randn(8, 4)
        for network, optimizer in ((model, ours), (twin, theirs)):
            optimizer.zero_grad()
            network(inputs).square().sum().backward()
            optimizer.step()
    assert torch.allclose(model.weight, twin.weight, atol=1e-6)
    assert torch.allclose(model.bias, twin.bias, atol=1e-6)


def test_a_step_does_not_depend_on_the_size_of_the_gradient():
    weights = []
    for size in (1e-3, 1e3):
        torch.manual_seed(0)
        model = nn.Linear(32, 32, bias=False)
        (size * model(torch.randn(4, 32)).square().sum()).backward()
        Muon(model).step()
        weights.append(model.weight.detach())
    assert torch.allclose(*weights, atol=1e-4)


@pytest.mark.parametrize("layer", [nn.Linear(32, 32), nn.Conv2d(16, 32, 3)])
def test_its_state_comes_back_and_goes_on_alike(layer):
    torch.manual_seed(0)
    inputs = torch.randn(4, 32) if isinstance(layer, nn.Linear) else torch.randn(4, 16, 8, 8)

    def go(model: nn.Module, optimizer: Muon) -> None:
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()

    first = Muon(layer)
    go(layer, first)
    twin = copy.deepcopy(layer)
    second = Muon(twin)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    go(layer, first)
    go(twin, second)
    assert torch.equal(layer.weight, twin.weight)


def test_frozen_parameters_stay():
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = Muon(model)
    model(torch.randn(4, 32)).sum().backward()
    optimizer.step()
    assert torch.equal(model[0].weight, before)
