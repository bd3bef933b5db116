"""A language model given sight, by the way of a lab: the recipe, three stages, a folder that answers."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from micrographia.assistant import Assistant
from micrographia.errors import PlanError
from micrographia.micrographs.display import open_display
from micrographia.students.cross_attention import GatedCrossAttention
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.tune import maemi
from micrographia.tune.train import tune
from micrographia.workspace import RECIPE as RECIPE_FILE
from micrographia.workspace import open_workspace
from tests.tune.small import CLASSES, RECIPE, Counting
from tests.tune.test_fit import Killed

SECTION = "  family: maemi\n  language_model: {steps: 3}\n"
STAGES = ["learning labels", "learning the language", "looking at the images", "learning words"]


def lab_with(taught, folder, more=SECTION, recipe=RECIPE):
    shutil.copytree(taught, folder)
    (folder / RECIPE_FILE).write_text(recipe + more, encoding="utf-8")
    return folder


def tune_in(lab):
    progress = Counting()
    with open_workspace(lab) as workspace:
        folder = tune(workspace, progress=progress)
    return folder, [task for task in progress.tasks if task in STAGES]


@pytest.fixture(scope="module")
def tuned(taught, tmp_path_factory):
    lab = lab_with(taught, tmp_path_factory.mktemp("maemi") / "lab")
    return lab, *tune_in(lab)


def test_three_stages_make_a_student_that_answers(tuned):
    lab, folder, stages = tuned
    assert stages == STAGES
    assistant = Assistant.load(folder)
    assert type(assistant.model) is MAEMIForConditionalGeneration
    with open_workspace(lab) as workspace:
        images = [open_display(workspace.objects, m) for m in workspace.catalog.micrographs("test")]
    ranking = assistant.classify(images[:2])
    assert [sorted(name for name, _ in one) for one in ranking] == [sorted(CLASSES)] * 2
    assert all(sum(share for _, share in one) == pytest.approx(1) for one in ranking)
    assert len(assistant.answer(images[:2], [assistant.card.caption_question] * 2)) == 2
    assert assistant.embed(images).shape == (len(images), assistant.model.config.vision_config.hidden_size)
    np.testing.assert_allclose(np.linalg.norm(assistant.embed(images), axis=1), 1, rtol=1e-5)


def test_adapters_have_become_part_of_the_weights_and_the_gates_have_opened(tuned):
    _, folder, _ = tuned
    names = load_file(folder / "model.safetensors")
    assert not [name for name in names if "dyqlora" in name or "base_layer" in name]
    model = Assistant.load(folder).model
    gates = [m.gate.item() for m in model.modules() if isinstance(m, GatedCrossAttention)]
    assert len(gates) == 4
    assert all(gates)


def test_what_is_tuned_is_not_tuned_again(tuned):
    lab, folder, _ = tuned
    assert tune_in(lab) == (folder, [])


@pytest.mark.parametrize("stage", ["language", "words"])
def test_killed_and_gone_on_it_is_the_same_student(tuned, taught, tmp_path, monkeypatch, stage):
    class KillAtTheEnd(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if args.output_dir.endswith(stage):
                raise Killed

    fit = maemi.fit
    with monkeypatch.context() as patched:
        killing = [KillAtTheEnd()]
        patched.setattr(maemi, "fit", lambda *a: fit(*a[:-1], [*a[-1], *killing]))
        learn = maemi.learn_language
        patched.setattr(maemi, "learn_language", lambda *a: learn(*a, killing))
        lab = lab_with(taught, tmp_path / "lab")
        with pytest.raises(Killed):
            tune_in(lab)
    folder, _ = tune_in(lab)
    whole, again = (load_file(one / "model.safetensors") for one in (tuned[1], folder))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "none"])
def test_every_way_to_adapt_goes_by_its_name(taught, tmp_path, method):
    lab = lab_with(
        taught, tmp_path / "lab", SECTION + f"  low_rank: {{method: {method}, rank: 2, lowest_rank: 1}}\n"
    )
    folder, _ = tune_in(lab)
    assert not [name for name in load_file(folder / "model.safetensors") if "lora" in name]
    Assistant.load(folder)


def test_without_labels_to_teach_the_eye_by_it_is_refused_before_anything_is_learned(taught, tmp_path):
    recipe = RECIPE.replace("labels: {epochs: 1, batch: 8}", "labels: {epochs: 0}")
    lab = lab_with(taught, tmp_path / "lab", recipe=recipe)
    with pytest.raises(PlanError, match="no labels to teach it by"):
        tune_in(lab)
