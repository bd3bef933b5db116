import json

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaForConditionalGeneration,
)

from micrographia.students.configuration import VisionConfig
from micrographia.students.llava import SightedLlava
from tests.students.languages import IMAGE_ID, language_model, prompts

FAMILIES = ("llama", "qwen3", "gemma", "smollm3")


def tower(kind):
    torch.manual_seed(0)
    if kind == "ours":
        sizes = {"image_size": 64, "hidden_size": 16, "window": 2, "heads": 2, "key_size": 8}
        return AutoModel.from_config(VisionConfig(**sizes)).eval()
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=64, patch_size=16)).eval()


def pixels(kind, count=2):
    channels = 1 if kind == "ours" else 3
    return torch.rand(count, channels, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def asked(kind, rows=2):
    """A prompt with as many places as an image has tokens."""
    tokens = 17 if kind == "ours" else 16
    return prompts(rows, tokens + 6, places=[(row, 1 + k) for row in range(rows) for k in range(tokens)])


def llava(kind="ours", family="llama"):
    return SightedLlava.of(language_model(family), tower(kind), IMAGE_ID).eval()


def logits(model, ids, **kwargs):
    with torch.no_grad():
        return model(input_ids=ids, **kwargs).logits


@pytest.mark.parametrize("kind", ["ours", "a hub's"])
@pytest.mark.parametrize("family", FAMILIES)
def test_two_steps_of_tuning_then_saved_and_loaded_as_a_llava_of_everybody(tmp_path, kind, family):
    model, ids, images = llava(kind, family), asked(kind), pixels(kind)
    before = {name: p.clone() for name, p in model.named_parameters()}
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.1)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        model(input_ids=ids, pixel_values=images, labels=ids).loss.backward()
        optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved
    assert all("multi_modal_projector" in name for name in moved)
    model.eval().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("llava", ["LlavaForConditionalGeneration"])
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert type(again) is LlavaForConditionalGeneration
    torch.testing.assert_close(
        logits(again, ids, pixel_values=images), logits(model, ids, pixel_values=images), atol=0, rtol=0
    )
    told = again.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=images, max_new_tokens=3
    )
    assert told.shape[1] <= ids.shape[1] + 3


@pytest.mark.parametrize("family", FAMILIES)
def test_without_an_image_it_is_the_bare_language_model(family):
    ids = prompts(places=())
    torch.testing.assert_close(
        logits(llava(family=family), ids), logits(language_model(family), ids), atol=0, rtol=0
    )


@pytest.mark.parametrize("kind", ["ours", "a hub's"])
@pytest.mark.parametrize("beams", [1, 3])
def test_images_that_were_looked_at_before_are_the_same(kind, beams):
    model, ids, images = llava(kind), asked(kind), pixels(kind)
    with torch.no_grad():
        tokens = model.look(images)
    torch.testing.assert_close(
        logits(model, ids, image_tokens=tokens), logits(model, ids, pixel_values=images), atol=0, rtol=0
    )
    how = {
        "attention_mask": torch.ones_like(ids),
        "max_new_tokens": 4,
        "num_beams": beams,
        "do_sample": False,
    }
    assert torch.equal(
        model.generate(input_ids=ids, image_tokens=tokens, **how),
        model.generate(input_ids=ids, pixel_values=images, **how),
    )


def test_scores_are_the_likelihoods_of_the_whole_answers():
    model, ids, images = llava(), asked("ours"), pixels("ours")
    names = torch.tensor([[5, 6, 2], [7, 2, 0], [8, 9, 2]])
    expected = torch.empty(2, 3)
    for row in range(2):
        for k, name in enumerate(names):
            name = name[name != 0]
            whole = torch.cat([ids[row], name])[None]
            told = logits(model, whole, pixel_values=images[row : row + 1]).log_softmax(-1)
            told = told[0, ids.shape[1] - 1 : -1]
            expected[row, k] = told.gather(1, name[:, None]).sum()
    scores = model.score_labels(images, ids, names)
    torch.testing.assert_close(scores, expected.log_softmax(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ours", "a hub's"])
def test_an_embedding_is_a_vector_an_image(kind):
    with torch.no_grad():
        assert llava(kind).embed(pixels(kind)).shape == (2, 16 if kind == "ours" else 24)
