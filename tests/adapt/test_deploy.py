import json
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from micrographia.adapt.adapter_files import load_lora
from micrographia.adapt.deploy import dequantised, export, write_lora
from micrographia.adapt.dyqlora_fa import DyQLoRAFALinear
from micrographia.errors import RecipeError, StudentError
from tests.adapt.test_dyqlora_fa import IDS, adapted, llama, logits, train

PROBES = [{"input_ids": ids[None, :n], "attention_mask": torch.ones(1, n)} for ids in IDS for n in (4, 9)]


@pytest.fixture(scope="module")
def tuned():
    model = adapted(dropout=0.05)
    train(model, [5, 2, 4, 3] * 8)
    return model


@pytest.mark.parametrize("rank", [2, 4, 5])
def test_any_rank_becomes_a_lora_of_that_rank_with_the_same_logits(tuned, tmp_path, rank):
    report = export(tuned, tmp_path / "out", rank, PROBES)
    assert (report.rank, report.probes, report.tensors) == (rank, 4, 28)
    assert max(report.adapter_difference, report.merged_difference) < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    config = json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", rank, 1)
    assert config["base_model_name_or_path"] == str(tmp_path / "out" / "base")
    tuned.set_rank(rank)
    base = type(llama()).from_pretrained(tmp_path / "out" / "base")
    torch.testing.assert_close(
        logits(PeftModel.from_pretrained(base, tmp_path / "out" / "adapter")), logits(tuned)
    )
    merged = type(llama()).from_pretrained(tmp_path / "out" / "merged")
    torch.testing.assert_close(logits(merged.eval()), logits(tuned))
    tuned.set_rank(None)


def test_peft_alone_gives_the_same_logits_in_a_process_that_never_saw_us(tuned, tmp_path):
    export(tuned, tmp_path / "out", 3, PROBES)
    script = f"""
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained({str(tmp_path / "out" / "base")!r})
model = PeftModel.from_pretrained(base, {str(tmp_path / "out" / "adapter")!r}).eval()
torch.save(model(input_ids=torch.arange(18).view(2, 9)).logits, {str(tmp_path / "logits.pt")!r})
assert not any(name.startswith("micrographia") for name in sys.modules)
"""
    subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        cwd=tmp_path,
    )
    tuned.set_rank(3)
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), logits(tuned))
    tuned.set_rank(None)


def test_files_that_answer_otherwise_are_not_left_behind(tuned, tmp_path):
    def say_the_last_word(module, inputs, logits):  # a part of the model that no file holds
        return logits.index_fill(-1, torch.tensor([logits.shape[-1] - 1]), 1e3)

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "older").touch()
    hook = tuned.get_base_model().lm_head.register_forward_hook(say_the_last_word)
    try:
        with pytest.raises(StudentError, match=r"the adapter's file answers 4 of 4 probes otherwise"):
            export(tuned, tmp_path / "out", 3, PROBES)
    finally:
        hook.remove()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "older"]


@pytest.mark.parametrize("rank", [1, 6])
def test_a_rank_that_was_not_tuned_is_refused(tuned, tmp_path, rank):
    with pytest.raises(RecipeError, match="choose one from 2 to 5"):
        export(tuned, tmp_path / "out", rank, PROBES)
    assert not list(tmp_path.iterdir())


def test_an_adapter_for_another_model_is_refused_with_the_count(tuned, tmp_path):
    write_lora(tuned, tmp_path, 3)
    with pytest.raises(StudentError, match=r"24 of 28 tensors .* have no place"):
        load_lora(llama(hidden_size=32, intermediate_size=40, num_attention_heads=4), tmp_path)
    with pytest.raises(StudentError, match=r"14 of 28 tensors .* have no place"):
        load_lora(llama(num_hidden_layers=1), tmp_path)


def test_a_partial_adapter_is_refused_with_the_count(tuned, tmp_path):
    write_lora(tuned, tmp_path, 3)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({key: tensors[key] for key in sorted(tensors)[4:]}, file)
    with pytest.raises(StudentError, match=r"4 of 28 places .* got no tensor"):
        load_lora(dequantised(tuned), tmp_path)


def test_layers_are_named_whole_where_their_last_names_would_say_more(tmp_path):
    model = adapted(target_modules=["layers.0.self_attn.q_proj", "v_proj"])
    write_lora(model, tmp_path, 2)
    targets = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    names = (
        f"model.layers.{k}.self_attn.{which}" for k, which in ((0, "q_proj"), (0, "v_proj"), (1, "v_proj"))
    )
    assert sorted(targets) == list(names)
    load_lora(dequantised(model), tmp_path)


def test_the_tuned_model_is_as_it_was_after_an_export(tuned, tmp_path):
    before = logits(tuned)
    export(tuned, tmp_path / "out", 2, PROBES)
    torch.testing.assert_close(logits(tuned), before, atol=0, rtol=0)
    assert any(isinstance(module, DyQLoRAFALinear) for module in tuned.modules())
