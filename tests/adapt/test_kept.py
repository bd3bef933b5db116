import copy
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from micrographia.adapt.deploy import export
from micrographia.adapt.dyqlora_fa import DyQLoRAFAConfig
from micrographia.adapt.int8 import Int8Linear
from micrographia.adapt.kept import FROZEN, keep, kept_config, restored
from micrographia.errors import RecipeError, StudentError
from tests.adapt.test_deploy import PROBES
from tests.adapt.test_dyqlora_fa import IDS, llama, logits

METHODS = {
    "dyqlora_fa": DyQLoRAFAConfig(r_min=2, r_max=5, alpha=8),
    "lora": LoraConfig(r=3, target_modules="all-linear"),
    "rslora": LoraConfig(r=3, target_modules="all-linear", use_rslora=True),
    "dora": LoraConfig(r=3, target_modules="all-linear", use_dora=True),
}
HIGHEST = {"dyqlora_fa": 5}


def tuned_by(method, dtype=torch.float32):
    """A model with adapters that have learned for a few steps."""
    torch.manual_seed(1)
    model = get_peft_model(llama().to(dtype), copy.deepcopy(METHODS[method])).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(8):
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    return model.eval()


def settled(model, folder):
    """The merged model as it is loaded from its file; the adapter lies beside it."""
    keep(model, folder / "adapter")
    model.merge_and_unload().save_pretrained(folder)
    return type(llama()).from_pretrained(folder).eval()


@pytest.mark.parametrize("method", METHODS)
def test_what_was_merged_comes_apart_as_it_was_in_tuning(method, tmp_path):
    model = tuned_by(method)
    told = logits(model)
    with model.disable_adapter():
        bare = logits(model)
    again = restored(settled(model, tmp_path), tmp_path / "adapter")
    torch.testing.assert_close(logits(again), told, atol=0, rtol=0)
    with again.disable_adapter():
        torch.testing.assert_close(logits(again), bare, atol=0, rtol=0)


def test_of_8_bit_weights_a_quarter_is_kept(tmp_path):
    merged = settled(tuned_by("dyqlora_fa"), tmp_path)
    frozen = load_file(tmp_path / "adapter" / FROZEN)
    layers = {name.rpartition(".")[0] for name in frozen}
    assert {frozen[f"{name}.weight"].dtype for name in layers} == {torch.int8}
    restored(merged, tmp_path / "adapter")
    assert all(isinstance(merged.get_submodule(name).base_layer, Int8Linear) for name in layers)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_kept_is_exported_and_answers_alike(method, tmp_path):
    model = tuned_by(method)
    told = logits(model)
    again = restored(settled(model, tmp_path / "student"), tmp_path / "student" / "adapter")
    rank = HIGHEST.get(method, 3)
    report = export(again, tmp_path / "out", rank, PROBES)
    assert max(report.adapter_difference, report.merged_difference) < 1e-5
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    shape = (config["peft_type"], config["r"], config["use_rslora"], config["use_dora"])
    assert shape == ("LORA", rank, method == "rslora", method == "dora")
    merged = type(llama()).from_pretrained(tmp_path / "out" / "merged").eval()
    torch.testing.assert_close(logits(merged), told)


@pytest.mark.parametrize("method", ["dyqlora_fa", "lora"])
def test_what_was_tuned_in_bfloat16_is_exported_in_single_precision(method, tmp_path):
    model = settled(tuned_by(method, torch.bfloat16), tmp_path / "student")
    assert model.dtype == torch.bfloat16
    report = export(restored(model, tmp_path / "student" / "adapter"), tmp_path / "out", 3, PROBES)
    assert max(report.adapter_difference, report.merged_difference) < 1e-5
    merged = type(llama()).from_pretrained(tmp_path / "out" / "merged")
    assert {tensor.dtype for tensor in merged.state_dict().values()} == {torch.float32}


def test_an_adapter_of_peft_s_own_has_one_rank(tmp_path):
    with pytest.raises(RecipeError, match="the adapter has rank 3 alone"):
        export(tuned_by("lora"), tmp_path / "out", 2, PROBES)


def test_where_nothing_was_kept_there_is_no_adapter(tmp_path):
    assert kept_config(tmp_path) is None


def test_layers_of_another_model_are_refused_with_the_count(tmp_path):
    settled(tuned_by("lora"), tmp_path)
    with pytest.raises(StudentError, match=r"7 of the 14 layers .* have no place in the model"):
        restored(llama(num_hidden_layers=1), tmp_path / "adapter")


@pytest.mark.parametrize("file", [FROZEN, "adapter_model.safetensors"])
def test_a_damaged_file_is_refused(tmp_path, file):
    merged = settled(tuned_by("dyqlora_fa"), tmp_path)
    (tmp_path / "adapter" / file).write_bytes(b"none")
    with pytest.raises(StudentError, match="cannot be loaded"):
        restored(merged, tmp_path / "adapter")


@pytest.mark.parametrize("method", ["dyqlora_fa", "lora"])
def test_an_adapter_that_is_not_whole_is_refused_with_the_count(tmp_path, method):
    merged = settled(tuned_by(method), tmp_path)
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({key: tensors[key] for key in sorted(tensors)[2:]}, file)
    with pytest.raises(StudentError, match=r"(matches \d+ of \d+ tensors|2 of 28 places .* got no tensor)"):
        restored(merged, tmp_path / "adapter")


def test_frozen_weights_that_are_not_whole_are_refused_with_the_count(tmp_path):
    merged = settled(tuned_by("lora"), tmp_path)
    frozen = load_file(tmp_path / "adapter" / FROZEN)
    save_file({key: frozen[key] for key in sorted(frozen)[1:]}, tmp_path / "adapter" / FROZEN)
    with pytest.raises(StudentError, match="has the weights of 13 of 14 adapted layers"):
        restored(merged, tmp_path / "adapter")
