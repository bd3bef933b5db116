import json
from itertools import product

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    CLIPVisionModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    LlavaForConditionalGeneration,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from micrographia.errors import StudentError
from micrographia.students.configuration import VisionConfig
from micrographia.students.llava import SightedLlava
from tests.students.languages import IMAGE_ID, language_model, prompts

FAMILIES = ("llama", "qwen3", "gemma", "smollm3")
TOKENS = {"ours": 17, "clip": 16, "siglip": 16, "dinov3": 21}
"""That LLaVA takes of an image of 16 patches: ours has exposure beside them, DINOv3 <cls> and registers."""
HUBS = {
    "clip": (CLIPVisionModel, CLIPVisionConfig, {}),
    "siglip": (SiglipVisionModel, SiglipVisionConfig, {}),
    "dinov3": (DINOv3ViTModel, DINOv3ViTConfig, {"num_register_tokens": 4}),
}


def tower(kind):
    torch.manual_seed(0)
    if kind == "ours":
        sizes = {"image_size": 64, "hidden_size": 16, "window": 2, "heads": 2, "key_size": 8}
        return AutoModel.from_config(VisionConfig(**sizes)).eval()
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model, config, more = HUBS[kind]
    return model(config(**sizes, **more, image_size=64, patch_size=16)).eval()


def pixels(kind, count=2):
    channels = 1 if kind == "ours" else 3
    return torch.rand(count, channels, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def asked(kind, rows=2):
    """A prompt with as many places as an image has tokens."""
    tokens = TOKENS[kind]
    return prompts(rows, tokens + 6, places=[(row, 1 + k) for row in range(rows) for k in range(tokens)])


def llava(kind="ours", family="llama", speaker=None):
    return SightedLlava.of(speaker or language_model(family), tower(kind), IMAGE_ID).eval()


def logits(model, ids, **kwargs):
    with torch.no_grad():
        return model(input_ids=ids, **kwargs).logits


@pytest.mark.parametrize(
    ("family", "kind"),
    [*product(FAMILIES, ["ours", "clip"]), ("llama", "siglip"), ("llama", "dinov3")],
)
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


@pytest.mark.parametrize("kind", TOKENS)
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


@pytest.mark.parametrize("kind", TOKENS)
def test_an_embedding_is_a_vector_an_image(kind):
    with torch.no_grad():
        assert llava(kind).embed(pixels(kind)).shape == (2, 16 if kind == "ours" else 24)


@pytest.mark.parametrize(("kind", "in_front"), [("clip", 1), ("siglip", 0), ("dinov3", 5)])
def test_it_sees_every_patch_of_a_tower(kind, in_front):
    images, kept = pixels(kind), in_front if kind == "dinov3" else 0
    with torch.no_grad():
        tokens = llava(kind).look(images)
        layer = tower(kind)(images, output_hidden_states=True).hidden_states[-2]
    assert torch.equal(tokens[:, kept:], layer[:, in_front:])
    assert tokens.shape[1] == 16 + kept


def test_it_is_made_of_the_given_models_themselves():
    speaker, eye = language_model(tie_word_embeddings=True).bfloat16(), tower("ours")
    model = SightedLlava.of(speaker, eye, IMAGE_ID)
    assert model.model.vision_tower is eye
    assert model.model.language_model is speaker.model
    assert model.lm_head.weight is speaker.model.embed_tokens.weight
    assert {p.device.type for p in (*model.parameters(), *model.buffers())} == {"cpu"}
    dtypes = {name.split(".")[1]: p.dtype for name, p in model.named_parameters()}
    half, whole = torch.bfloat16, torch.float32
    assert dtypes == {"language_model": half, "vision_tower": whole, "multi_modal_projector": whole}
    learns = model.model.multi_modal_projector
    assert 0.01 < learns.linear_1.weight.std() < 0.03 and not learns.linear_2.bias.any()


@pytest.mark.parametrize("kind", TOKENS)
def test_beside_a_language_model_in_bfloat16_it_is_saved_loaded_and_sees(tmp_path, kind):
    model, ids, images = llava(kind, speaker=language_model().bfloat16()), asked(kind), pixels(kind)
    model.save_pretrained(tmp_path)
    for again in (model, SightedLlava.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()):
        assert torch.isfinite(logits(again, ids, pixel_values=images)).all()
        scores = again.score_labels(images, ids, torch.tensor([[5, 6, 2], [7, 2, 0]]))
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(2))


@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_that_is_built_otherwise_is_refused(tied):
    with pytest.raises(StudentError, match="OPTForCausalLM is built in another way"):
        llava(speaker=language_model("opt", tie_word_embeddings=tied))
