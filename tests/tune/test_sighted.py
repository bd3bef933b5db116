"""A language model given sight, by the way of a lab: the recipe, three stages, a folder that answers."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    TrainerCallback,
)
from transformers.models.llama.modeling_llama import LlamaMLP

from micrographia.assistant import Assistant
from micrographia.assistant.export import export
from micrographia.errors import PlanError, RecipeError, StudentError
from micrographia.micrographs.display import open_display
from micrographia.recipe import parse
from micrographia.students.cross_attention import GatedCrossAttention
from micrographia.students.llava import SightedLlava
from micrographia.students.maemi import MAEMIForConditionalGeneration
from micrographia.students.tokens import train_tokenizer
from micrographia.tune import language, memory, sighted
from micrographia.tune.card import read_card
from micrographia.tune.train import DEMONSTRATIONS, tune
from micrographia.workspace import RECIPE as RECIPE_FILE
from micrographia.workspace import open_workspace
from tests.students.languages import language_model
from tests.tune.small import CLASSES, RECIPE, Counting, decided
from tests.tune.test_fit import Killed

FAMILIES = {"maemi": MAEMIForConditionalGeneration, "llava": SightedLlava}
STAGES = ["learning labels", "learning the language", "looking at the images"]


def section(family="maemi", more=""):
    shown = "demonstrations: 2, projector: {epochs: 1}" if family == "llava" else "demonstrations: 1"
    fields = ", ".join(["name: small", f"family: {family}", "language_model: {steps: 3}", shown])
    quick = "labels: {epochs: 1, batch: 8}, epochs: 1, batch: 8, texts_per_image: 3"
    return f"tune: {{{fields}, {quick}{more}}}\n"


def lab_with(taught, folder, tune_section):
    shutil.copytree(taught, folder)
    (folder / RECIPE_FILE).write_text(RECIPE[: RECIPE.index("tune:")] + tune_section, encoding="utf-8")
    return folder


def tune_in(lab):
    progress = Counting()
    with open_workspace(lab) as workspace:
        folder = tune(workspace, progress=progress)
    return folder, [task for task in progress.tasks if task.startswith("l")]


@pytest.fixture(scope="module", params=FAMILIES)
def tuned(request, taught, tmp_path_factory):
    lab = lab_with(taught, tmp_path_factory.mktemp(request.param) / "lab", section(request.param))
    return request.param, lab, *tune_in(lab)


def images_of(lab, part="test"):
    with open_workspace(lab) as workspace:
        return [open_display(workspace.objects, m) for m in workspace.catalog.micrographs(part)]


def test_its_stages_make_a_student_that_answers(tuned):
    family, lab, folder, stages = tuned
    assert stages == [*STAGES, *["learning to project"] * (family == "llava"), "learning words"]
    assistant, images = Assistant.load(folder), images_of(lab)
    assert type(assistant.model) is FAMILIES[family]
    ranking = assistant.classify(images[:2])
    assert [sorted(name for name, _ in one) for one in ranking] == [sorted(CLASSES)] * 2
    assert all(sum(share for _, share in one) == pytest.approx(1) for one in ranking)
    assert len(assistant.answer(images[:2], [assistant.card.caption_question] * 2)) == 2
    assert assistant.embed(images).shape == (len(images), assistant.model.config.vision_config.hidden_size)
    np.testing.assert_allclose(np.linalg.norm(assistant.embed(images), axis=1), 1, rtol=1e-5)


def test_what_it_was_shown_with_is_recorded_and_never_of_its_own_group_or_the_test(tuned):
    _, lab, folder, _ = tuned
    shown = json.loads((folder / DEMONSTRATIONS).read_text())
    with open_workspace(lab) as workspace:
        part, group = workspace.catalog.parts(0), workspace.catalog.groups()
    assert {part[asked] for asked in shown} == {"train", "validation"}
    assert all(part[other] == "train" for others in shown.values() for other in others)
    assert all(group[asked] != group[other] for asked, others in shown.items() for other in others)


def test_adapters_have_become_part_of_the_weights_and_the_gates_have_opened(tuned):
    family, _, folder, _ = tuned
    names = load_file(folder / "model.safetensors")
    assert not [name for name in names if "dyqlora" in name or "base_layer" in name]
    model = Assistant.load(folder).model
    gates = [m.gate.item() for m in model.modules() if isinstance(m, GatedCrossAttention)]
    assert len(gates) == (4 if family == "maemi" else 0)
    assert all(gates)
    assert (folder / "adapter").is_dir() == (family == "maemi")


def test_a_small_language_model_of_llava_learns_whole_unless_adapters_are_asked_for(taught, tmp_path):
    labs = {"whole": "", "adapted": ", low_rank: {method: dyqlora_fa}"}
    made = {}
    for name, more in labs.items():
        lab = lab_with(taught, tmp_path / name, section("llava", more))
        made[name], _ = tune_in(decided(lab))
    assert not (made["whole"] / "adapter").exists() and (made["adapted"] / "adapter").is_dir()
    whole, adapted = (Assistant.load(folder).model for folder in made.values())
    eyes = (model.model.vision_tower.state_dict() for model in (whole, adapted))
    assert all(torch.equal(*one) for one in zip(*(eye.values() for eye in eyes), strict=True))
    embeddings = (model.get_input_embeddings().weight for model in (whole, adapted))
    assert not torch.equal(*embeddings)  # which no adapter touches


def test_what_is_tuned_is_not_tuned_again(tuned):
    _, lab, folder, _ = tuned
    assert tune_in(lab) == (folder, [])


@pytest.mark.parametrize("stage", ["language", "projector", "words"])
def test_killed_and_gone_on_it_is_the_same_student(tuned, taught, tmp_path, monkeypatch, stage):
    family, _, folder, _ = tuned
    if stage == "projector" and family == "maemi":
        pytest.skip("MAEMI has no projector")

    class KillAtTheEnd(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            if args.output_dir.endswith(stage):
                raise Killed

    with monkeypatch.context() as patched:
        for module in (sighted, language):
            fit = module.fit
            patched.setattr(
                module,
                "fit",
                lambda *a, _fit=fit: _fit(*a[:8], [*(a[8] if len(a) > 8 else []), KillAtTheEnd()]),
            )
        lab = lab_with(taught, tmp_path / "lab", section(family))
        with pytest.raises(Killed):
            tune_in(lab)
    again, _ = tune_in(lab)
    for file in (path.relative_to(folder) for path in folder.rglob("*.safetensors")):
        whole, resumed = (load_file(one / file) for one in (folder, again))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_with_checkpointing_layers_run_twice_and_the_student_is_the_same(
    tuned, taught, tmp_path, monkeypatch
):
    family, _, folder, _ = tuned
    runs = []

    def counted(layer, x, forward=LlamaMLP.forward):
        runs.append(layer.training and torch.is_grad_enabled())
        return forward(layer, x)

    monkeypatch.setattr(LlamaMLP, "forward", counted)
    seen = []
    for name, more in (("direct", ""), ("again", ", gradient_checkpointing: true")):
        runs.clear()
        again, _ = tune_in(lab_with(taught, tmp_path / name, section(family, more)))
        seen.append(sum(runs))
    assert seen[1] > seen[0] > 0  # the stage of language alone is as it was
    direct, checkpointed = (load_file(one / "model.safetensors") for one in (folder, again))
    assert direct.keys() == checkpointed.keys()
    for name, values in direct.items():
        torch.testing.assert_close(values, checkpointed[name], rtol=1e-4, atol=1e-5, msg=name)


def test_maemi_may_see_the_last_image_alone(taught, tmp_path):
    folder, _ = tune_in(lab_with(taught, tmp_path / "lab", section("maemi", ", sees: last")))
    assert Assistant.load(folder).model.config.sees == "last"
    with pytest.raises(RecipeError, match=r"sees is 'last', which is of maemi alone"):
        parse(section("llava", ", sees: last"), "recipe.yaml")


@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "none"])
def test_every_way_to_adapt_goes_by_its_name(taught, tmp_path, method):
    more = f", low_rank: {{method: {method}, rank: 2, lowest_rank: 1}}"
    folder, _ = tune_in(lab_with(taught, tmp_path / "lab", section(more=more)))
    assert not [name for name in load_file(folder / "model.safetensors") if "lora" in name]
    assert (folder / "adapter").is_dir() == (method != "none")
    Assistant.load(folder)


def test_all_weights_but_the_eye_s_may_learn(taught, given, tmp_path):
    parts = f"vision_encoder: '{given / 'eye'}', language_model: {{folder: '{given / 'speaker'}'}}"
    stages = "projector: {epochs: 1}, epochs: 1, batch: 8, low_rank: {method: full}"
    lab = lab_with(taught, tmp_path / "lab", f"tune: {{name: small, family: llava, {parts}, {stages}}}\n")
    folder, _ = tune_in(lab)
    model = Assistant.load(folder).model.model
    eye, speaker = (load_file(given / part / "model.safetensors") for part in ("eye", "speaker"))
    tower, decoder = model.vision_tower.state_dict(), model.language_model.state_dict()
    assert all(torch.equal(tower[name], tensor) for name, tensor in eye.items())
    layers = {name.removeprefix("model."): tensor for name, tensor in speaker.items() if "layers" in name}
    assert layers
    assert not any(torch.equal(decoder[name], tensor) for name, tensor in layers.items())
    assert not (folder / "adapter").exists()
    with (
        open_workspace(lab) as workspace,
        pytest.raises(StudentError, match="method full, and has no adapter"),
    ):
        export(workspace, tmp_path / "out")


def test_maemi_cannot_learn_whole():
    with pytest.raises(RecipeError, match="method is full"):
        parse(section(more=", low_rank: {method: full}"), "micrographia.yaml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_4_bit_weights_without_a_cuda_device_are_refused_before_any_work(taught, given, tmp_path):
    recipe = section(more=", low_rank: {method: qlora}")
    lab = lab_with(taught, tmp_path / "lab", recipe.replace("steps: 3", f"folder: '{given / 'speaker'}'"))
    progress = Counting()
    with open_workspace(lab) as workspace, pytest.raises(PlanError, match="need a CUDA device"):
        tune(workspace, progress=progress)
    assert progress.tasks == {} and not (lab / "students").exists()


def test_without_labels_to_teach_the_eye_by_it_is_refused_before_anything_is_learned(taught, tmp_path):
    recipe = section().replace("labels: {epochs: 1, batch: 8}", "labels: {epochs: 0}")
    with pytest.raises(PlanError, match="no labels to teach it by"):
        tune_in(lab_with(taught, tmp_path / "lab", recipe))


def test_more_demonstrations_than_there_are_images_are_refused(taught, tmp_path):
    lab = lab_with(taught, tmp_path / "lab", section().replace("demonstrations: 1", "demonstrations: 16"))
    progress = Counting()
    with (
        open_workspace(lab) as workspace,
        pytest.raises(PlanError, match="demonstrations is 16, and for some image there are only"),
    ):
        tune(workspace, progress=progress)
    assert list(progress.tasks) == ["preparing images"]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Folders of a vision encoder and a language model, as they come from a hub."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=64, patch_size=16)).save_pretrained(folder / "eye")
    square = {"height": 64, "width": 64}
    CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size=square).save_pretrained(folder / "eye")
    tokenizer = train_tokenizer(["What is shown? The surface is smooth, with fibres of 12 nm."] * 3, 600)
    tokenizer.save_pretrained(folder / "speaker")
    speaker = language_model("qwen3", vocab_size=len(tokenizer))
    speaker.generation_config.repetition_penalty = 1.05
    speaker.save_pretrained(folder / "speaker")
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_eye_and_language_model_may_be_given(taught, given, tmp_path, family):
    more = f", vision_encoder: '{given / 'eye'}', views: 1"
    recipe = section(family, more).replace("steps: 3", f"folder: '{given / 'speaker'}'")
    lab = lab_with(taught, tmp_path / "lab", recipe)
    folder, stages = tune_in(lab)
    assert stages == [
        "looking at the images",
        *["learning to project"] * (family == "llava"),
        "learning words",
    ]
    assistant, images = Assistant.load(folder), images_of(lab)
    speaks = assistant.model.generation_config
    assert speaks.repetition_penalty is None
    assert speaks.eos_token_id == AutoTokenizer.from_pretrained(given / "speaker").eos_token_id
    assert len(assistant.classify(images[:1])[0]) == len(CLASSES)
    assert len(assistant.answer(images[:2], ["What is shown?"] * 2)) == 2
    assert len(list((lab / "cache").glob("features-*"))) == 1
    shutil.rmtree(folder)
    _, stages = tune_in(lab)
    assert "looking at the images" not in stages  # what it has seen is kept for every student


@pytest.mark.parametrize("order", [("maemi", "llava"), ("llava", "maemi")])
def test_two_families_in_one_lab_do_not_take_each_others_features(taught, given, tmp_path, order):
    more = f", vision_encoder: '{given / 'eye'}', views: 1"
    lab = lab_with(taught, tmp_path / "lab", "")
    for family in order:
        recipe = section(family, more).replace("name: small", f"name: {family}")
        (lab / RECIPE_FILE).write_text(RECIPE[: RECIPE.index("tune:")] + recipe, encoding="utf-8")
        _, stages = tune_in(lab)
        assert "looking at the images" in stages


def test_other_weights_in_a_given_folder_make_another_student(taught, given, tmp_path):
    shutil.copytree(given / "eye", tmp_path / "eye")
    lab = lab_with(
        taught, tmp_path / "lab", section(more=f", vision_encoder: '{tmp_path / 'eye'}', views: 1")
    )
    folder, _ = tune_in(lab)
    assert tune_in(lab) == (folder, [])
    weights = load_file(tmp_path / "eye" / "model.safetensors")
    changed = {name: 1.5 * tensor for name, tensor in weights.items()}
    save_file(changed, tmp_path / "eye" / "model.safetensors", metadata={"format": "pt"})
    _, stages = tune_in(lab)
    assert "learning words" in stages


def test_the_likest_are_shown_last(tuned):
    _, lab, folder, _ = tuned
    shown = json.loads((folder / DEMONSTRATIONS).read_text())
    assistant = Assistant.load(folder)
    with open_workspace(lab) as workspace:
        every = workspace.catalog.micrographs()
        part, group = workspace.catalog.parts(0), workspace.catalog.groups()
        placed = assistant.embed([open_display(workspace.objects, m) for m in every])
    where = {m.id: vector for m, vector in zip(every, placed, strict=True)}
    for asked, others in list(shown.items())[:6]:
        pool = [m.id for m in every if part[m.id] == "train" and group[m.id] != group[asked]]
        likest = sorted(pool, key=lambda other: float(where[asked] @ where[other]))[-len(others) :]
        told, best = ([float(where[asked] @ where[other]) for other in one] for one in (others, likest))
        assert told == pytest.approx(best, abs=2e-3)  # features are kept in half precision


@pytest.mark.parametrize("field", ["tune.vision_encoder", "tune.language_model.folder"])
def test_a_folder_without_a_whole_model_is_refused_by_its_field(taught, given, tmp_path, field):
    broken = tmp_path / "broken"
    shutil.copytree(given / ("eye" if "vision" in field else "speaker"), broken)
    weights = load_file(broken / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    for name, problem in (("nowhere", "no config.json"), (str(broken), "cannot be loaded")):
        given_as = f", vision_encoder: '{name}'" if "vision" in field else ""
        recipe = section("maemi", given_as)
        if "language" in field:
            recipe = recipe.replace("steps: 3", f"folder: '{name}'")
        lab = tmp_path / f"lab-{len(name)}"
        with pytest.raises(PlanError, match=problem) as refused:
            tune_in(lab_with(taught, lab, recipe))
        assert field in str(refused.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_does_not_fit_is_refused_or_taken_in_parts_as_told(taught, tmp_path, monkeypatch, family):
    lines = []

    def tune_with(there, recipe, name):
        monkeypatch.setattr(memory, "_available", lambda: there)
        lines.clear()
        with open_workspace(lab_with(taught, tmp_path / name, recipe)) as workspace:
            return tune(workspace, progress=Counting(), say=lines.append)

    there = {"maemi": 20, "llava": 45}[family] * 2**20  # LLaVA's language model learns whole
    quick = section(family).replace("labels: {epochs: 1, batch: 8}", "labels: {epochs: 1, batch: 2}")
    with pytest.raises(PlanError, match=r"it takes learning .* or set tune\.too_large to accumulate"):
        tune_with(there, quick, "refused")
    assert any(line.startswith("memory") for line in lines)
    folder = tune_with(there, quick.replace("name: small,", "name: small, too_large: accumulate,"), "parts")
    assert any("cut into parts of at most" in line for line in lines)
    assert "cut into parts" in read_card(folder).plan
