import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForImageTextToText

from micrographia.adapt.dyqlora_fa import DyQLoRAFALinear
from micrographia.adapt.methods import adapted, adapter_config, language_layers
from micrographia.recipe import LowRankSection
from micrographia.students.chat_template import Exchange
from micrographia.students.prompts import IMAGE
from micrographia.tune.memory import light_copy
from tests.students.hub_models import MODELS, chats

KINDS = sorted(MODELS)
METHODS = ["lora", "dyqlora_fa"]
IMAGES = [np.random.default_rng(seed).integers(0, 256, (40, 72), dtype=np.uint8) for seed in range(2)]
LEARNT = [[Exchange([IMAGE, "What is shown?"], answer)] for answer in ("Fibres", "pores of 12 nm")]
LAYERS = {"qwen3-vl": 3 * 7, "llava": 2 * 7}


@pytest.mark.parametrize("kind", KINDS)
def test_the_language_model_s_layers_are_found_and_no_others(kind):
    model = MODELS[kind]()
    names = language_layers(model)
    assert len(names) == LAYERS[kind]
    modules = dict(model.named_modules())
    assert all(isinstance(modules[name], nn.Linear) for name in names)
    assert all(".layers." in name and "language_model." in name for name in names)


def test_an_adapter_is_as_the_recipe_says():
    section = LowRankSection(rank=3, lowest_rank=2, rank_weights=(3, 1), update="last", alpha=8, dropout=0.5)
    made = adapter_config(section, ["q_proj"], seed=7)
    assert (made.draw.ranks, made.rank_weights, made.draw.seed) == ((2, 3), (3, 1), 7)
    assert (made.update, made.alpha, made.dropout) == ("last", 8, 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_the_hub_is_tuned_in_two_steps_merged_saved_loaded_and_asked(tmp_path, kind, method):
    model, processor = MODELS[kind](), chats(kind)
    model.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tuned = adapted(model, LowRankSection(method=method, rank=4, lowest_rank=2, dropout=0), seed=0).train()
    learning = [name for name, parameter in tuned.named_parameters() if parameter.requires_grad]
    assert learning
    assert all(("lora_" in name or "dyqlora_B" in name) and "language_model" in name for name in learning)
    batch = processor.to_learn(LEARNT, [[image] for image in IMAGES])
    optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=0.005)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        losses.append(tuned(**batch).loss)
        losses[-1].backward()
        optimizer.step()
    tuned.eval()
    with torch.no_grad():
        told = tuned(**batch)
    assert told.loss < losses[0]
    merged = tuned.merge_and_unload()
    assert not any(isinstance(module, DyQLoRAFALinear) for module in merged.modules())
    merged.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, local_files_only=True).eval()
    after = again.state_dict()
    layers = {f"{name}.weight" for name in language_layers(MODELS[kind]())}
    assert {name for name in before if not torch.equal(before[name], after[name])} == layers
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, told.logits, atol=1e-4, rtol=1e-3)
    asked = processor.to_ask(LEARNT, [[image] for image in IMAGES])
    said = again.generate(**asked, max_new_tokens=3, do_sample=False, eos_token_id=processor.end_id)
    assert len(processor.said(said, asked["input_ids"])) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_learns_whole_learns_in_single_precision_and_leaves_its_origin_alone(kind):
    model = MODELS[kind]().to(torch.bfloat16).requires_grad_(False)
    learner = adapted(light_copy(model), LowRankSection(method="full"), seed=0).train()
    eye = {id(parameter) for parameter in learner.get_encoder(modality="image").parameters()}
    assert eye
    for parameter in learner.parameters():
        assert parameter.requires_grad == (id(parameter) not in eye)
        assert parameter.dtype == (torch.bfloat16 if id(parameter) in eye else torch.float32)
    assert all(p.dtype == torch.bfloat16 and not p.requires_grad for p in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        learner(**chats(kind).to_learn(LEARNT, [[image] for image in IMAGES])).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in learner.get_decoder().layers.parameters())
