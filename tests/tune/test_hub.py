"""A model of the hub is tuned by the recipe, and answers as any student does."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as checks
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForImageTextToText, TrainerCallback

from micrographia.assistant import Assistant
from micrographia.errors import PlanError, RecipeError
from micrographia.evaluate.few_shot import SHOWN
from micrographia.evaluate.run import evaluate
from micrographia.recipe import parse
from micrographia.students.chat import ChatProcessor
from micrographia.students.chat_template import Exchange
from micrographia.students.prompts import IMAGE
from micrographia.students.views import VIEWS
from micrographia.teach.lexicon import class_words
from micrographia.tune import chats, hub, memory
from micrographia.tune.chats import laid_down
from micrographia.tune.corpus import corpus_of
from micrographia.tune.train import DEMONSTRATIONS, tune
from micrographia.workspace import RECIPE as RECIPE_FILE
from micrographia.workspace import open_workspace
from tests.assistant.test_voice import our_voice
from tests.assistant.tiny import write_student
from tests.students.hub_models import MODELS, PROCESSORS
from tests.tune.small import CLASSES, RECIPE, Counting
from tests.tune.test_fit import Killed
from tests.tune.test_sighted import images_of, lab_with


@pytest.fixture(scope="module", params=MODELS)
def given_model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "model"
    model = MODELS[request.param]()
    model.generation_config.max_new_tokens = 16
    model.generation_config.repetition_penalty = 1.05
    model.save_pretrained(folder)
    ChatProcessor(PROCESSORS[request.param]()).save_pretrained(folder)
    return folder


def section(folder, more=""):
    fields = f"name: small, family: hub, start_from: '{folder}', epochs: 1, batch: 8, texts_per_image: 2"
    return f"tune: {{{fields}, demonstrations: 1{more}}}\nevaluate: {{questions_per_image: 1}}\n"


def tune_in(lab, said=None):
    progress = Counting()
    with open_workspace(lab) as workspace:
        folder = tune(workspace, progress=progress, say=(said if said is not None else []).append)
    return folder, list(progress.tasks)


@pytest.fixture(scope="module")
def tuned(taught, given_model, tmp_path_factory):
    lab = lab_with(taught, tmp_path_factory.mktemp("hub") / "lab", section(given_model))
    said = []
    folder, _ = tune_in(lab, said)
    return lab, folder, given_model, said


def test_it_answers_ranks_and_embeds(tuned):
    lab, folder, _, _ = tuned
    assistant, images = Assistant.load(folder), images_of(lab)
    speaks = assistant.model.generation_config
    assert (speaks.repetition_penalty, speaks.eos_token_id) == (None, assistant.processor.end_id)
    told = assistant.answer(images[:2], [assistant.card.caption_question] * 2)
    assert len(told) == 2
    ranking = assistant.classify(images[:2])
    assert [sorted(name for name, _ in one) for one in ranking] == [sorted(CLASSES)] * 2
    assert all(sum(share for _, share in one) == pytest.approx(1) for one in ranking)
    np.testing.assert_allclose(np.linalg.norm(assistant.embed(images[:2]), axis=1), 1, rtol=1e-5)


def test_only_its_language_layers_have_changed_and_no_adapter_is_left(tuned):
    _, folder, given_model, _ = tuned
    before, after = (load_file(one / "model.safetensors") for one in (given_model, folder))
    assert before.keys() == after.keys()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed
    assert all("language_model" in name and ".layers." in name for name in changed)


def test_all_but_its_eye_may_learn(taught, given_model, tmp_path):
    lab = lab_with(taught, tmp_path / "lab", section(given_model, ", low_rank: {method: full}"))
    folder, _ = tune_in(lab)
    before, after = (load_file(one / "model.safetensors") for one in (given_model, folder))
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {name for name in before if "visual." in name or "vision_tower." in name}


def test_everybody_can_load_it(tuned):
    _, folder, given_model, _ = tuned
    model = AutoModelForImageTextToText.from_pretrained(folder)
    assert type(model) is type(AutoModelForImageTextToText.from_pretrained(given_model))
    assert ChatProcessor.from_pretrained(folder).processor.chat_template


def test_the_exam_is_sat_with_examples_and_without(tuned):
    lab, folder, _, _ = tuned
    with open_workspace(lab) as workspace:
        scores = evaluate(workspace).scores
        part, group = workspace.catalog.parts(0), workspace.catalog.groups()
    assert {"student", SHOWN} <= {s.system for s in scores}
    shown = json.loads((folder / DEMONSTRATIONS).read_text())
    assert all(part[other] == "train" for others in shown.values() for other in others)
    assert all(group[asked] != group[other] for asked, others in shown.items() for other in others)


def test_the_plan_says_how_images_are_scaled_and_what_they_take_up(tuned):
    lines = "\n".join(tuned[3])
    assert "its aspect kept; scaled by" in lines
    assert "image tokens" in lines
    assert "frozen, as it came" in lines
    assert "shown        1 images with their labels, before half of the questions for the category" in lines
    assert "learning words at most" in lines


def test_killed_and_gone_on_it_is_the_same_student(tuned, taught, tmp_path, monkeypatch):
    _, folder, given_model, _ = tuned

    class KillAtTheEnd(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            raise Killed

    fit = hub.fit
    with monkeypatch.context() as patched:
        patched.setattr(hub, "fit", lambda *a: fit(*a[:8], [*a[8], KillAtTheEnd()]))
        lab = lab_with(taught, tmp_path / "lab", section(given_model))
        with pytest.raises(Killed):
            tune_in(lab)
    again, _ = tune_in(lab)
    whole, resumed = (load_file(one / "model.safetensors") for one in (folder, again))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_what_is_too_long_is_listed_with_its_tokens_and_never_learned(taught, given_model, tmp_path):
    chats = ChatProcessor.from_pretrained(given_model)
    image = chats.seen((96, 96)).tokens
    said = []
    lab = lab_with(taught, tmp_path / "lab", section(given_model, f", longest: {image + 90}"))
    seen = []
    real = ChatProcessor.to_learn

    def watching(self, *given):
        batch = real(self, *given)
        seen.append(batch["input_ids"].shape[1])
        return batch

    ChatProcessor.to_learn = watching
    try:
        tune_in(lab, said)
    finally:
        ChatProcessor.to_learn = real
    (left_out,) = (line for line in said if line.startswith("left out"))
    assert f"{image} of images and" in left_out
    assert max(seen) <= image + 90


@given(st.integers(0, 7), st.integers(2, 9), st.integers(2, 9))
@checks(max_examples=20, deadline=None)
def test_an_array_is_laid_down_as_pixels_are(view, rows, columns):
    image = np.random.default_rng(view).integers(0, 255, (rows, columns), dtype=np.uint8)
    turns, mirrored = VIEWS[view]
    expected = np.rot90(np.fliplr(image) if mirrored else image, turns)
    assert np.array_equal(laid_down(image, view), expected)


def test_a_recipe_without_a_model_to_start_from_is_refused():
    with pytest.raises(RecipeError, match="hub needs the folder"):
        parse("tune: {family: hub}", "the recipe")
    with pytest.raises(RecipeError, match="hub needs the folder"):
        parse("tune: {start_from: model}", "the recipe")
    with pytest.raises(RecipeError, match="nothing else learns"):
        parse("tune: {family: hub, start_from: model, low_rank: {method: none}}", "the recipe")


def test_a_folder_without_a_model_is_refused_before_anything_is_done(taught, tmp_path):
    lab = lab_with(taught, tmp_path / "lab", section("nowhere"))
    with pytest.raises(PlanError, match=r"tune\.start_from is 'nowhere'"):
        tune_in(lab)


@pytest.mark.parametrize("family", ["mvaema", "maemi", "llava"])
def test_a_student_of_our_own_is_no_model_to_start_from(taught, tmp_path, family):
    folder = tmp_path / "ours"
    if family == "mvaema":
        write_student(folder)
    else:
        voice = our_voice(family, ["Fibres"])
        voice.model.save_pretrained(folder)
        voice.processor.save_pretrained(folder)
    lab = lab_with(taught, tmp_path / "lab", section(folder))
    with pytest.raises(PlanError, match=r"its processor .*: hub needs a chat model of the hub") as caught:
        tune_in(lab)
    assert caught.value.what.startswith(f"tune.start_from is '{folder}': ")


def test_with_checkpointing_less_is_kept_and_the_losses_are_the_same(
    tuned, taught, given_model, tmp_path, monkeypatch
):
    _, direct, _, said = tuned
    again_said, learners, seen = [], [], []
    fit = hub.fit

    def watched(stage, model, *rest):
        learners.append(model)
        for module in model.get_encoder(modality="image").modules():
            module.register_forward_hook(lambda module, args, output: seen.append(output))
        return fit(stage, model, *rest)

    monkeypatch.setattr(hub, "fit", watched)
    recipe = section(given_model, ", gradient_checkpointing: true")
    again, _ = tune_in(lab_with(taught, tmp_path / "again", recipe), again_said)
    for ours, theirs in zip(*(Assistant.load(one).card.curve for one in (direct, again)), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    kept = [
        float(re.search(r"([\d.]+) MiB kept for the backward pass", "\n".join(lines)).group(1))
        for lines in (said, again_said)
    ]
    assert kept[1] < kept[0]
    assert seen and not any(t.requires_grad for t in tree_leaves(seen) if isinstance(t, torch.Tensor))
    assert not learners[0].is_activation_checkpointing


def test_a_step_that_is_cut_into_parts_is_the_same_step(taught, given_model, tmp_path, monkeypatch):
    recipe = section(given_model, ", low_rank: {dropout: 0}").replace("batch: 8", "batch: 4")
    parts = []
    in_parts = chats.in_parts

    def noting(*given):
        step = in_parts(*given)
        parts.append(len(step["parts"]))
        return step

    monkeypatch.setattr(chats, "in_parts", noting)
    cut, _ = tune_in(lab_with(taught, tmp_path / "cut", recipe))
    assert max(parts) > 1
    parts.clear()
    monkeypatch.setattr(memory.Step, "room", None)
    whole, _ = tune_in(lab_with(taught, tmp_path / "whole", recipe))
    assert parts == []
    for ours, theirs in zip(*(Assistant.load(one).card.curve for one in (cut, whole)), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_the_plan_says_where_fewer_examples_fit_than_are_wanted(taught, given_model, tmp_path):
    lab, said = lab_with(taught, tmp_path / "lab", ""), []
    processor = ChatProcessor.from_pretrained(given_model)
    with open_workspace(lab) as workspace:
        corpus = corpus_of(workspace, 0)
    label = max(map(class_words, CLASSES), key=lambda one: len(processor.answer(one)))
    example = [Exchange([IMAGE, corpus.commonest_prompt("category", "short")], label)]
    asked = [[Exchange([IMAGE, c.prompt], c.answer)] for c in corpus.conversations if c.task == "category"]
    longest = max(processor.tokens(example + row, [(96, 96)] * 2).total for row in asked)
    recipe = section(given_model, f", longest: {longest}").replace("demonstrations: 1", "demonstrations: 2")
    (lab / RECIPE_FILE).write_text(RECIPE[: RECIPE.index("tune:")] + recipe, encoding="utf-8")
    tune_in(lab, said)
    (line,) = (line for line in said if line.startswith("shown"))
    assert line.endswith("; 1 where texts are long, the least like are left out")


def test_what_does_not_fit_is_refused_with_what_makes_rows_shorter(
    taught, given_model, tmp_path, monkeypatch
):
    recipe = section(given_model).replace("texts_per_image: 2, demonstrations: 1", "texts_per_image: 1")
    monkeypatch.setattr(memory, "_available", lambda: 2**20)
    with pytest.raises(PlanError, match=r"it takes learning words") as refused:
        tune_in(lab_with(taught, tmp_path / "lab", recipe))
    assert "set tune.longest" in refused.value.remedy
    assert "texts_per_image" not in refused.value.remedy and "demonstrations" not in refused.value.remedy
    scaled = "qwen" in type(ChatProcessor.from_pretrained(given_model).processor).__name__.lower()
    assert ("set tune.max_pixels" in refused.value.remedy) == scaled  # LLaVA's images are all of one size


def test_no_room_for_a_question_is_refused_before_anything_is_done(taught, given_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(given_model, folder)
    settings = json.loads((folder / "generation_config.json").read_text()) | {"max_new_tokens": 256}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    lab = lab_with(taught, tmp_path / "lab", section(folder, ", longest: 200"))
    with pytest.raises(PlanError, match=r"tune\.longest is 200 tokens"):
        tune_in(lab)
