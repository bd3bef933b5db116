import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from micrographia.adapt import lean_loss
from micrographia.adapt.lean_loss import without_logits
from tests.adapt.test_dyqlora_fa import IDS, llama
from tests.adapt.test_int8 import kept_by

LABELS = IDS.clone()
LABELS[0, :4] = -100


def frozen_head(**changes):
    model = llama(**changes).train()
    model.lm_head.requires_grad_(False)
    return model


def loss_and_gradient(model, **kwargs):
    loss = model(input_ids=IDS, labels=LABELS, **kwargs).loss
    loss.backward()
    return loss.detach(), model.model.layers[0].self_attn.q_proj.weight.grad


@pytest.mark.parametrize("items", [None, 40])
@pytest.mark.parametrize("at_once", [512, 5])
def test_loss_and_gradients_are_the_usual_ones(items, at_once, monkeypatch):
    monkeypatch.setattr(lean_loss, "PLACES_AT_ONCE", at_once)
    usual, lean = frozen_head(), frozen_head()
    assert without_logits(lean)
    for one, other in zip(
        loss_and_gradient(usual, num_items_in_batch=items),
        loss_and_gradient(lean, num_items_in_batch=items),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_no_logits_are_kept():
    usual, lean = frozen_head(vocab_size=4096), frozen_head(vocab_size=4096)
    without_logits(lean)

    def kept(model):
        own = (*model.parameters(), *model.buffers())
        return kept_by(lambda: model(input_ids=IDS, labels=LABELS).loss, *own)

    assert kept(usual) - kept(lean) >= 0.99 * IDS.numel() * 4096 * 4


def test_without_gradients_logits_are_as_before():
    usual, lean = frozen_head().eval(), frozen_head().eval()
    without_logits(lean)
    with torch.no_grad():
        one, other = (model(input_ids=IDS, labels=LABELS) for model in (usual, lean))
    torch.testing.assert_close(one.logits, other.logits, atol=0, rtol=0)
    torch.testing.assert_close(one.loss, other.loss)
    asked = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "do_sample": False}
    asked["max_new_tokens"] = 3
    assert torch.equal(usual.generate(**asked), lean.generate(**asked))


def test_names_of_weights_stay():
    usual, lean = frozen_head(), frozen_head()
    without_logits(lean)
    assert list(usual.state_dict()) == list(lean.state_dict())


def test_a_batch_in_which_nothing_is_learned_has_no_loss():
    lean = frozen_head()
    without_logits(lean)
    loss = lean(input_ids=IDS, labels=torch.full_like(IDS, -100)).loss
    loss.backward()
    assert loss.item() == 0


def test_a_head_that_is_trained_gets_its_gradient():
    usual, lean = llama().train(), llama().train()
    without_logits(lean)
    for model in (usual, lean):
        loss_and_gradient(model)
    torch.testing.assert_close(lean.lm_head.weight.grad, usual.lm_head.weight.grad)


def test_where_it_cannot_be_done_the_model_is_left_alone():
    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    config = AutoConfig.for_model("gemma2", **sizes, num_attention_heads=2, num_key_value_heads=1, head_dim=8)
    capped = AutoModelForCausalLM.from_config(config).requires_grad_(False)
    assert capped.config.final_logit_softcapping
    assert not without_logits(capped)
    assert type(capped.lm_head) is torch.nn.Linear
