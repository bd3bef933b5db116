from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    SwinConfig,
    SwinModel,
)

from micrographia.errors import StudentError
from micrographia.students.configuration import MAEMIConfig, VisionConfig
from micrographia.students.cross_attention import GatedCrossAttention
from micrographia.students.losses import IGNORED
from micrographia.students.maemi import MAEMIForConditionalGeneration
from tests.students.languages import FAMILIES, IMAGE_ID, language_model, prompts
from tests.students.test_llava import tower
from tests.students.tiny import pictures

SIZES = {
    "image_token_id": IMAGE_ID,
    "cross_attention_every": 2,
    "cross_attention_heads": 2,
    "cross_attention_key_size": 8,
    "feed_forward_factor": 2,
}


def eye():
    torch.manual_seed(0)
    return AutoModel.from_config(VisionConfig(image_size=64, hidden_size=16, window=2, heads=2, key_size=8))


def maemi(family="llama", opened=True, **changes):
    """A student; ``opened``: as after some tuning, so that it sees."""
    model = MAEMIForConditionalGeneration.of(language_model(family), eye(), **{**SIZES, **changes}).eval()
    if opened:
        torch.manual_seed(1)
        for module in model.modules():
            if isinstance(module, GatedCrossAttention):
                module.gate.data.fill_(1.0)
                module.gate_forward.data.fill_(0.5)
    return model


def logits(model, ids, images, **kwargs):
    with torch.no_grad():
        return model(input_ids=ids, pixel_values=images, **kwargs).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_with_closed_gates_it_is_the_bare_language_model(family):
    ids = prompts()
    bare = language_model(family)(input_ids=ids).logits
    torch.testing.assert_close(logits(maemi(family, opened=False), ids, pictures(3)), bare, atol=0, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_two_steps_of_tuning_then_saved_loaded_and_asked(family, tmp_path):
    model, ids, images = maemi(family, opened=False), prompts(), pictures(3)
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(input_ids=ids, pixel_values=images, labels=ids).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] != losses[0]
    for name, value in model.named_parameters():
        if name in frozen:
            assert torch.equal(value, frozen[name]), name
    model.eval().save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert type(again) is MAEMIForConditionalGeneration
    torch.testing.assert_close(logits(again, ids, images), logits(model, ids, images), atol=0, rtol=0)
    asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": images}
    told = again.generate(**asked, max_new_tokens=4, do_sample=False)
    assert torch.equal(told, again.generate(**asked, max_new_tokens=4, do_sample=False, use_cache=False))
    assert told.shape[1] <= 13


def test_what_learns_is_the_gated_cross_attention_before_every_second_layer():
    model = maemi()
    learns = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".sight.")[0] for name in learns} == {
        f"language_model.model.layers.{k}" for k in (0, 2)
    }
    names = {name for name, _ in language_model().named_parameters()}
    ours = {name.removeprefix("language_model.") for name, _ in model.named_parameters()} - names
    assert not {name for name in ours if "sight" not in name and not name.startswith("vision.")}


@pytest.mark.parametrize("sees", ["last", "all"])
def test_a_token_sees_the_images_before_it_and_no_other(sees):
    model, ids, images = maemi(sees=sees, cross_attention_every=3), prompts(), pictures(3)
    before = logits(model, ids, images)
    for changed, row, first in ((0, 0, 1), (1, 1, 0), (2, 1, 4)):
        other = images.clone()
        other[changed] = pictures(1, seed=9)[0]
        moved = (logits(model, ids, other) - before).abs().amax(2) > 1e-6
        expected = torch.zeros_like(moved)
        expected[row, first:] = True  # later tokens also by the language model's own attention
        assert torch.equal(moved, expected)


def test_the_last_image_hides_those_before_it():
    """Of a block alone: behind it the language model's own attention mixes everything."""
    for sees, hidden in (("last", True), ("all", False)):
        model, ids = maemi(sees=sees), prompts(1, places=((0, 0), (0, 4)))
        block = model.language_model.model.layers[0].sight
        x = torch.randn(1, 9, 32, generator=torch.Generator().manual_seed(0))
        images = pictures(2)
        other = torch.stack([pictures(1, seed=9)[0], images[1]])
        with torch.no_grad():
            one, two = (block(x, model.see(ids, pixels, None)) for pixels in (images, other))
        moved = (one - two).abs().amax(2)[0] > 1e-6
        assert moved.tolist() == [True] * 4 + [not hidden] * 5


def test_before_any_image_nothing_is_added():
    model, ids = maemi(), prompts(1, places=((0, 5),))
    block = model.language_model.model.layers[0].sight
    x = torch.randn(1, 9, 32)
    with torch.no_grad():
        changed = (block(x, model.see(ids, pictures(1), None)) - x).abs().amax(2)[0] > 0
    assert changed.tolist() == [False] * 5 + [True] * 4


def test_texts_without_one_with_one_and_with_many_images_mix_in_a_batch():
    model = maemi()
    ids = prompts(3, places=((1, 2), (2, 0), (2, 4)))
    images = pictures(3)
    together = logits(model, ids, images)
    alone = [
        logits(model, ids[:1], None),
        logits(model, ids[1:2], images[:1]),
        logits(model, ids[2:], images[1:]),
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_loss_falls_on_answers_alone():
    model, ids, images = maemi(), prompts(), pictures(3)
    labels = torch.full_like(ids, IGNORED)
    labels[0, 6:], labels[1, 8:] = ids[0, 6:], ids[1, 8:]
    expected = torch.nn.functional.cross_entropy(
        logits(model, ids, images)[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED
    )
    out = model(input_ids=ids, pixel_values=images, labels=labels)
    torch.testing.assert_close(out.loss, expected)
    assert out.logits.shape[1] == 3  # made only where some row answers
    by_items = model(input_ids=ids, pixel_values=images, labels=labels, num_items_in_batch=8).loss
    torch.testing.assert_close(by_items, expected * 4 / 8)


def test_images_that_were_looked_at_before_are_the_same():
    model, ids, images = maemi(), prompts(), pictures(3)
    with torch.no_grad():
        features = model.look(images)
        again = model(input_ids=ids, image_tokens=features).logits
    torch.testing.assert_close(again, logits(model, ids, images), atol=0, rtol=0)


@pytest.mark.parametrize("beams", [1, 3])
def test_padding_on_the_left_and_company_change_no_answer(beams):
    model, images = maemi(), pictures(3)
    long, short = prompts(1, places=((0, 0), (0, 4))), prompts(1, 6, places=((0, 1),), seed=4)
    padded = torch.cat([long, torch.nn.functional.pad(short, (3, 0))])
    mask = torch.ones_like(padded)
    mask[1, :3] = 0
    how = {"max_new_tokens": 5, "do_sample": False, "num_beams": beams}
    both = model.generate(input_ids=padded, attention_mask=mask, pixel_values=images, **how)[:, 9:]
    for row, ids, seen in ((0, long, images[:2]), (1, short, images[2:])):
        alone = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=seen, **how)
        alone = alone[0, ids.shape[1] :]
        assert both[row, : len(alone)].tolist() == alone.tolist()


def test_calls_at_the_same_time_do_not_see_each_other_s_images():
    model, ids = maemi(), prompts()
    every = [pictures(3, seed=seed) for seed in range(8)]
    expected = [logits(model, ids, images) for images in every]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = pool.map(lambda images: logits(model, ids, images), every)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        model = maemi().train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(input_ids=prompts(), pixel_values=pictures(3), labels=prompts()).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 10
    for direct, again in zip(*gradients, strict=True):
        torch.testing.assert_close(direct, again)


@pytest.mark.parametrize(("kind", "tokens"), [("clip", 17), ("siglip", 16), ("dinov3", 21)])
def test_a_hub_s_tower_gives_sight_as_ours_does(kind, tokens):
    """With <cls> where it has one, and registers."""
    model = MAEMIForConditionalGeneration.of(language_model(), tower(kind), **SIZES)
    images = torch.randn(3, 3, 64, 64)
    assert model.look(images).shape == (3, tokens, 24)
    assert logits(model.eval(), prompts(), images).shape == (2, 9, 64)


def test_images_and_places_must_be_as_many():
    with pytest.raises(StudentError, match="3 <image>, and 2 images"):
        logits(maemi(), prompts(), pictures(2))
    with pytest.raises(StudentError, match="3 <image>, and 0 images"):
        logits(maemi(), prompts(), None)


def test_a_language_model_that_hands_nothing_on_is_refused():
    config = {"model_type": "bloom", "hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 64}
    settings = {**SIZES, "text_config": config, "vision_config": eye().config}
    model = MAEMIForConditionalGeneration(MAEMIConfig(**settings))
    with pytest.raises(StudentError, match="BloomForCausalLM does not hand on"):
        logits(model, prompts(), pictures(3))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(StudentError, match="sees is 'none'"):
        MAEMIConfig(sees="none")


def test_scores_are_the_likelihoods_of_the_whole_answers():
    model, images = maemi(), pictures(2)
    ids = prompts(2, 6, places=((0, 0), (1, 0)))
    names = torch.tensor([[5, 6, 2], [7, 2, 0], [8, 9, 2]])
    scores = model.score_labels(images, ids, names)
    expected = torch.empty(2, 3)
    for row in range(2):
        for k, name in enumerate(names):
            name = name[name != 0]
            whole = torch.cat([ids[row], name])[None]
            told = logits(model, whole, images[row : row + 1]).log_softmax(-1)[0, 5:-1]
            expected[row, k] = told.gather(1, name[:, None]).sum()
    torch.testing.assert_close(scores, expected.log_softmax(1), atol=1e-5, rtol=1e-5)


def test_scores_of_rounded_logits_are_summed_without_rounding():
    model, images = maemi(), pictures(2)
    model.language_model.lm_head.register_forward_hook(lambda module, given, told: told.bfloat16())
    ids = prompts(2, 6, places=((0, 0), (1, 0)))
    names = torch.tensor([[5, 6, 2], [7, 9, 2], [8, 9, 2]])
    expected = torch.empty(2, 3)
    for row in range(2):
        for k, name in enumerate(names):
            told = logits(model, torch.cat([ids[row], name])[None], images[row : row + 1]).float()
            expected[row, k] = told.log_softmax(-1)[0, 5:-1].gather(1, name[:, None]).sum()
    scores = model.score_labels(images, ids, names)
    torch.testing.assert_close(scores, expected.log_softmax(1), atol=1e-3, rtol=0)


def test_scores_of_prompts_about_several_images():
    model, images = maemi(), pictures(3)
    ids = prompts(2, places=((0, 0), (0, 4), (1, 2)))
    names = torch.tensor([[5, 6, 2], [7, 2, 0]])
    index = torch.tensor([[2, 0], [1, -1]])
    expected = torch.cat(
        [
            model.score_labels(images, ids[row : row + 1], names, image_index=index[row : row + 1])
            for row in range(2)
        ]
    )
    scores = model.score_labels(images, ids, names, image_index=index)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    first = [logits(model, torch.cat([ids[:1], name[None, :2]], 1), images[[2, 0]]) for name in names]
    told = [one.log_softmax(-1)[0, -3:] for one in first]
    by_hand = torch.stack([told[0][0, 5] + told[0][1, 6] + told[0][2, 2], told[1][0, 7] + told[1][1, 2]])
    torch.testing.assert_close(scores[0], by_hand.log_softmax(0), atol=1e-5, rtol=1e-5)


def test_an_embedding_is_the_eye_s_cls():
    model, images = maemi(), pictures(2)
    with torch.no_grad():
        torch.testing.assert_close(model.embed(images), model.vision(images).cls)


@pytest.mark.parametrize("kind", ["ours", "a hub's"])
def test_beside_a_language_model_in_bfloat16_it_is_saved_loaded_and_sees(tmp_path, kind):
    vision = (
        eye()
        if kind == "ours"
        else SwinModel(SwinConfig(image_size=64, embed_dim=8, depths=[1, 1], num_heads=[2, 2]))
    )
    model = MAEMIForConditionalGeneration.of(language_model().bfloat16(), vision, **SIZES)
    model.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    images = torch.rand(2, 1 if kind == "ours" else 3, 64, 64)
    assert again.vision.dtype == again.look(images).dtype == torch.bfloat16
    ids = prompts(2, 6, places=((0, 0), (1, 0)))
    assert again.generate(input_ids=ids, pixel_values=images, max_new_tokens=2).shape[0] == 2
    scores = again.score_labels(images, ids, torch.tensor([[5, 6, 2], [7, 2, 0]]))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(2))
