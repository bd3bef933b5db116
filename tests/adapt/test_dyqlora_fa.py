import itertools

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from micrographia.adapt.dyqlora_fa import A, B, DyQLoRAFAConfig, DyQLoRAFALinear
from micrographia.adapt.int8 import Int8Linear
from micrographia.errors import PlanError, StudentError

IDS = torch.arange(18).view(2, 9)


def llama(**changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(**(sizes | heads | changes)))


def adapted(**config):
    return get_peft_model(llama(), DyQLoRAFAConfig(**{"r_min": 2, "r_max": 5, "dropout": 0.0, **config}))


def train(model, ranks, rate=0.05):
    """A step of AdamW at each of ``ranks``."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.1)
    model.train()
    for rank in ranks:
        model.set_rank(rank)
        optimizer.zero_grad()
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
    model.set_rank(None)
    model.eval()
    return optimizer


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def layers(model):
    return [m for m in model.modules() if isinstance(m, DyQLoRAFALinear)]


def columns(model, first, end):
    """Columns of B from ``first``, of all layers."""
    return torch.cat([layer.thin("default")[1][:, first:end].flatten() for layer in layers(model)])


def test_every_linear_layer_but_the_output_is_8_bit_with_an_adapter_that_changes_nothing_yet():
    model = adapted()
    assert len(layers(model)) == 14
    assert all(isinstance(layer.base_layer, Int8Linear) for layer in layers(model))
    assert isinstance(model.get_base_model().lm_head, nn.Linear)
    with model.disable_adapter():
        bare = logits(model)
    torch.testing.assert_close(logits(model), bare, atol=0, rtol=0)


def test_only_b_is_trained_and_no_call_of_peft_unfreezes_a():
    model = adapted()

    def trainable():
        return {name for name, p in model.named_parameters() if p.requires_grad}

    expected = trainable()
    assert expected
    assert all(B in name for name in expected)
    with model.disable_adapter():
        logits(model)
    model.set_adapter("default")
    model.base_model.set_requires_grad("default", True)
    assert trainable() == expected
    assert all(not layer.dyqlora_A["default"].requires_grad for layer in layers(model))


def test_a_is_normal_with_variance_one_over_inputs_and_its_own_in_every_layer():
    model = adapted(r_max=400)
    thin = [layer.dyqlora_A["default"] for layer in layers(model)]
    for one in thin:
        assert float(one.std()) == pytest.approx(one.shape[1] ** -0.5, rel=0.05)
    assert not torch.equal(thin[0], thin[1])


def test_the_sum_is_alpha_over_b_times_the_first_b_columns_and_rows():
    model = adapted(alpha=3.0)
    train(model, [5, 5])
    layer, x = layers(model)[0], torch.randn(4, 16)
    for rank in range(1, 6):
        model.set_rank(rank)
        down, up = layer.thin("default")
        assert (down.shape, up.shape) == ((rank, 16), (16, rank))
        expected = layer.base_layer(x) + 3.0 / rank * x @ down.T @ up.T
        torch.testing.assert_close(layer(x), expected)


def test_columns_beyond_the_rank_their_moments_and_their_decay_do_not_move():
    model = adapted()
    optimizer = train(model, [5, 5])
    before = {id(p): p.detach().clone() for p in model.parameters()}
    states = {id(p): {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}
    model.train()
    model.set_rank(3)
    optimizer.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    optimizer.step()
    for layer in layers(model):
        for rank, block in zip((2, 3, 4, 5), layer.dyqlora_B["default"], strict=True):
            still = torch.equal(block, before[id(block)])
            state = optimizer.state[block]
            same = all(torch.equal(v, states[id(block)][k]) for k, v in state.items())
            assert (still, same) == ((rank > 3,) * 2), rank


def test_in_the_last_mode_only_what_the_rank_adds_learns():
    model = adapted(update="last")
    train(model, [2, 4])
    assert columns(model, 0, 2).any()
    assert not columns(model, 2, 3).any()
    assert columns(model, 3, 4).any()
    model.set_rank(4)
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    for layer in layers(model):
        learns = [block.grad is not None for block in layer.dyqlora_B["default"]]
        assert learns == [False, False, True, False]


def test_normalised_gradients_pull_alike_at_every_rank():
    def size(rank, **config):
        model = adapted(r_min=1, r_max=16, **config)
        model.set_rank(rank)
        model(input_ids=IDS, labels=IDS).loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()

    assert size(1) / size(16) == pytest.approx(1, rel=0.25)
    assert size(1, normalise_gradients=False) / size(16, normalise_gradients=False) == pytest.approx(
        4, rel=0.25
    )
    assert size(16) == size(16, normalise_gradients=False)


def test_a_drawn_rank_is_that_of_the_step_in_all_layers():
    model = adapted(seed=3)
    drawn = [model.draw_rank(step) for step in range(20)]
    assert drawn == [adapted(seed=3).draw_rank(step) for step in range(20)]
    assert set(drawn) == {2, 3, 4, 5}
    assert {layer.ranks["default"] for layer in layers(model)} == {drawn[-1]}


@pytest.mark.parametrize("rank", [0, 6, -1])
def test_a_rank_that_is_not_there_is_refused(rank):
    with pytest.raises(PlanError, match=f"rank {rank} of adapter 'default'.*choose 1 to 5"):
        adapted().set_rank(rank)


@pytest.mark.parametrize("save_projection", [True, False])
def test_saved_and_loaded_it_is_the_same_with_and_without_a(tmp_path, save_projection):
    model = adapted(save_projection=save_projection)
    train(model, [5, 3])
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert any(A in key for key in saved) == save_projection
    again = PeftModel.from_pretrained(llama(), tmp_path).eval()
    torch.testing.assert_close(logits(again), logits(model), atol=0, rtol=0)
    assert not any(p.requires_grad for p in again.parameters())
    learning = PeftModel.from_pretrained(llama(), tmp_path, is_trainable=True)
    assert all(B in name for name, p in learning.named_parameters() if p.requires_grad)


def test_an_a_that_comes_out_otherwise_is_refused(tmp_path):
    adapted(save_projection=False).save_pretrained(tmp_path)
    with pytest.raises(StudentError, match="cannot be made again"):
        PeftModel.from_pretrained(llama(hidden_size=32), tmp_path)


@pytest.mark.parametrize("change", ["partial", "other"])
def test_a_wrong_or_partial_adapter_is_refused_with_counts(tmp_path, change):
    model = adapted()
    model.save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    keys = sorted(tensors)
    if change == "partial":
        save_file({key: tensors[key] for key in keys[3:]}, file)
        expected = r"67 of 70 tensors.*3 are missing, 0 have no place"
    else:
        save_file({key.replace("layers.1", "layers.7"): tensors[key] for key in keys}, file)
        expected = r"35 of 70 tensors.*35 are missing, 35 have no place"
    with pytest.raises(StudentError, match=expected):
        PeftModel.from_pretrained(llama(), tmp_path)


def test_several_adapters_live_beside_each_other():
    model = adapted()
    train(model, [5, 5])
    first = logits(model)
    model.add_adapter("second", DyQLoRAFAConfig(r_min=1, r_max=3, seed=1))
    torch.testing.assert_close(logits(model), first)
    model.set_adapter("second")
    assert not torch.equal(logits(model), first)
    train(model, [3, 1])
    model.set_adapter("default")
    torch.testing.assert_close(logits(model), first)
    model.delete_adapter("second")
    torch.testing.assert_close(logits(model), first)


def test_merged_weights_answer_alike_and_come_apart_exactly():
    model = adapted()
    train(model, [5, 5, 5])
    apart = logits(model)
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(logits(model), apart, atol=1e-5, rtol=1e-5)
    model.unmerge_adapter()
    torch.testing.assert_close(logits(model), apart, atol=0, rtol=0)
    model.set_rank(2)
    at_two = logits(model)
    whole = model.merge_and_unload()
    assert not any(isinstance(m, (Int8Linear, DyQLoRAFALinear)) for m in whole.modules())
    torch.testing.assert_close(logits(whole), at_two, atol=1e-5, rtol=1e-5)


def test_without_quantisation_the_base_is_untouched():
    model, bare = adapted(quantize=None), llama().eval()
    torch.testing.assert_close(logits(model.eval()), logits(bare), atol=0, rtol=0)
    train(model, [5])
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), logits(bare), atol=0, rtol=0)


def test_only_the_named_layers_are_taken():
    model = adapted(target_modules=["q_proj", "v_proj"], exclude_modules=r".*layers\.1\..*")
    assert len(layers(model)) == 2


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model = adapted(dropout=0.2)
        if checkpointing:
            model.activation_checkpointing_enable()
            model.enable_input_require_grads()
        model.train()
        model.set_rank(4)
        torch.manual_seed(1)
        model(input_ids=IDS, labels=IDS).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert gradients[0]
    for direct, again in itertools.zip_longest(*gradients):
        torch.testing.assert_close(direct, again)


def test_adapters_may_be_float32_beside_bfloat16_weights():
    for autocast_adapter_dtype, expected in ((True, torch.float32), (False, torch.bfloat16)):
        base = llama().to(torch.bfloat16)
        config = DyQLoRAFAConfig(r_min=2, r_max=5)
        model = get_peft_model(base, config, autocast_adapter_dtype=autocast_adapter_dtype)
        assert {p.dtype for p in model.parameters() if p.requires_grad} == {expected}
        train(model, [5, 2])
        assert logits(model).dtype == torch.bfloat16


def test_what_is_no_linear_layer_is_refused():
    with pytest.raises(PlanError, match="embed_tokens is a Embedding"):
        adapted(target_modules=["embed_tokens"])


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"r_min": 9, "r_max": 8}, "ranks"),
        ({"rank_weights": (1,)}, "rank_weights"),
    ],
)
def test_settings_that_cannot_be_are_refused(config, match):
    with pytest.raises(PlanError, match=match):
        DyQLoRAFAConfig(**config)


def test_adapters_that_keep_layers_otherwise_do_not_share_a_model():
    model = adapted()
    with pytest.raises(PlanError, match="quantize"):
        model.add_adapter("second", DyQLoRAFAConfig(quantize=None))


def test_peft_s_own_lora_is_left_as_it_was():
    assert get_peft_model(llama(), LoraConfig(target_modules="all-linear")).active_adapter == "default"
