"""A student's folder is whole, or refused with what to do; its identity is that of its content."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from micrographia.assistant import Assistant
from micrographia.assistant.load import FILES, INDEX, TEMPLATES, WEIGHTS, find, load
from micrographia.errors import StudentError
from micrographia.recipe import shipped_text
from micrographia.students.chat import BUDGET_FILE, ChatProcessor
from micrographia.tune.card import CARD
from micrographia.workspace import Workspace
from tests.students.hub_models import MODELS, PROCESSORS

from .tiny import card, write_student


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_the_listed_files_are_all_that_is_saved(folder):
    assert {file.name for file in folder.iterdir()} == {*FILES, WEIGHTS, CARD}


def test_no_folder_and_no_student(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StudentError, match="micrographia tune"):
            Assistant.load(folder)


@pytest.mark.parametrize("name", [*FILES, WEIGHTS])
def test_a_folder_that_lacks_a_file(copy, name):
    (copy / name).unlink()
    with pytest.raises(StudentError, match=f"lacks {name}"):
        Assistant.load(copy)


@pytest.mark.parametrize("name", [*FILES, WEIGHTS, CARD])
@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_file_that_is_cut_short(copy, name, kept):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(StudentError):
        Assistant.load(copy)


def test_weights_of_another_student(copy, tmp_path):
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["num_hidden_layers"] += 1
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(StudentError, match="do not fit"):
        Assistant.load(copy)


def test_a_model_of_another_kind(copy):
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["model_type"] = "no_such_model"
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(StudentError, match="no_such_model"):
        Assistant.load(copy)


def test_a_student_that_has_no_room_for_a_question_beside_its_answer(copy):
    generation = copy / "generation_config.json"
    settings = json.loads(generation.read_text())
    generation.write_text(json.dumps(settings | {"max_new_tokens": 96}))
    with pytest.raises(StudentError, match="reads 96 tokens, of which its answer may have 96"):
        Assistant.load(copy)


def test_it_is_loaded_for_work_not_for_training(folder):
    model = load(folder).model
    assert not model.training
    assert model.dtype == torch.float32


def test_identity_is_of_all_that_decides_an_answer(assistant, copy, tmp_path):
    assert Assistant.load(copy).identity == assistant.identity
    generation = copy / "generation_config.json"
    settings = json.loads(generation.read_text())
    generation.write_text(json.dumps(settings | {"max_new_tokens": settings["max_new_tokens"] - 1}))
    assert Assistant.load(copy).identity != assistant.identity
    generation.write_text(json.dumps(settings))
    before = Assistant.load(copy).identity
    (copy / CARD).write_text(card(fingerprint="1" * 64).model_dump_json(), encoding="utf-8")
    other_card = Assistant.load(copy).identity
    other_weights = Assistant.load(write_student(tmp_path / "other", seed=1)).identity
    assert len({before, other_card, other_weights}) == 3
    assert all(len(identity) == 64 and int(identity, 16) for identity in (other_card, other_weights))


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "lab", shipped_text("mvaema"))


def test_find_gives_the_recipes_student_or_one_by_its_name(workspace, folder):
    students = workspace.folder / "students"
    for name in (workspace.recipe.tune.name, "another"):
        shutil.copytree(folder, students / name)
    assert find(workspace) == workspace.student_folder()
    assert find(workspace, "another") == students / "another"


@pytest.mark.parametrize("name", ["mine", "..", "../lab", "another/.", "", "*"])
def test_find_names_the_students_there_are(workspace, folder, name):
    shutil.copytree(folder, workspace.folder / "students" / "another")
    with pytest.raises(StudentError, match="there are another"):
        find(workspace, name)


def test_a_folder_that_is_no_student_is_told_from_one_that_is_not_there(workspace, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "rank-8" / "merged")
    for part in ("adapter", "base"):
        (tmp_path / "rank-8" / part).mkdir()
    for wrong in ("rank-8", "rank-8/base", "rank-8/adapter"):
        with pytest.raises(StudentError) as caught:
            find(workspace, str(tmp_path / wrong))
        assert caught.value.what == f"{tmp_path / wrong} is no student's folder: it has no card.json"
        assert caught.value.remedy == f"the student that was exported is in {tmp_path / 'rank-8' / 'merged'}"
    with pytest.raises(StudentError, match=r"it has no card\.json: `micrographia tune` makes one"):
        find(workspace, str(tmp_path))


def test_find_before_any_tuning(workspace):
    with pytest.raises(StudentError, match="micrographia tune"):
        find(workspace)


def test_weights_are_read_as_safetensors_only(copy):
    torch_file = copy / "pytorch_model.bin"
    shutil.move(copy / WEIGHTS, torch_file)
    with pytest.raises(StudentError, match=WEIGHTS):
        Assistant.load(copy)


def in_several_files(folder):
    """Its weights in three files and an index."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    shards = {f"model-{n + 1:05}-of-00003.safetensors": list(weights)[n::3] for n in range(3)}
    for name, keys in shards.items():
        save_file({key: weights[key] for key in keys}, folder / name, metadata={"format": "pt"})
    index = {key: name for name, keys in shards.items() for key in keys}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}), encoding="utf-8")
    return list(shards)


def test_weights_may_lie_in_several_files_and_none_may_be_lacking(copy, folder):
    shards = in_several_files(copy)
    whole, parted = load(folder), load(copy)
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(whole.model.parameters(), parted.model.parameters(), strict=True)
    )
    weights = load_file(copy / shards[1])
    save_file({name: one + 1 for name, one in weights.items()}, copy / shards[1], metadata={"format": "pt"})
    assert load(copy).identity != parted.identity
    (copy / shards[1]).unlink()
    with pytest.raises(StudentError, match=f"lacks {shards[1]}"):
        load(copy)


@pytest.fixture
def of_the_hub(tmp_path):
    folder = tmp_path / "hub"
    model = MODELS["qwen3-vl"]()
    model.generation_config.max_new_tokens = 8
    model.save_pretrained(folder)
    ChatProcessor(PROCESSORS["qwen3-vl"](), 128 * 128, 200).save_pretrained(folder)
    (folder / CARD).write_text(card(family="hub").model_dump_json(), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", [*FILES, WEIGHTS, BUDGET_FILE, TEMPLATES[0]])
def test_a_model_of_the_hub_that_lacks_a_file(of_the_hub, name):
    load(of_the_hub)
    (of_the_hub / name).unlink()
    with pytest.raises(StudentError, match=f"lacks {name}"):
        load(of_the_hub)


def test_the_identity_of_a_model_of_the_hub_is_of_its_budgets_and_its_template(of_the_hub):
    before = load(of_the_hub).identity
    (of_the_hub / BUDGET_FILE).write_text('{"max_pixels": 1024, "longest": 200}', encoding="utf-8")
    other_budget = load(of_the_hub).identity
    template = of_the_hub / TEMPLATES[0]
    template.write_text("{# other words #}" + template.read_text(encoding="utf-8"), encoding="utf-8")
    assert len({before, other_budget, load(of_the_hub).identity}) == 3


def test_its_template_may_stand_in_the_configuration_of_its_processor(of_the_hub):
    template, config = (of_the_hub / TEMPLATES[0]), of_the_hub / "processor_config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(settings | {"chat_template": template.read_text()}), encoding="utf-8")
    template.unlink()
    assert load(of_the_hub).processor.template.end == "<|im_end|>"
