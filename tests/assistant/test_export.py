"""A tuned student leaves its workspace by `micrographia export`, and answers elsewhere as it does here."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from micrographia.adapt.deploy import export
from micrographia.adapt.kept import restored
from micrographia.adapt.methods import adapted
from micrographia.assistant import Assistant
from micrographia.assistant.export import probes
from micrographia.assistant.load import load
from micrographia.cli import app
from micrographia.recipe import LowRankSection
from micrographia.students.chat_template import Exchange
from micrographia.students.prompts import IMAGE
from micrographia.tune.run import ADAPTER
from tests.assistant.tiny import images, write_student
from tests.conftest import CHECKOUT
from tests.students.hub_models import MODELS, chats
from tests.tune.conftest import taught  # noqa: F401  (a fixture)
from tests.tune.test_sighted import lab_with, section, tune_in


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module", params=["maemi", "llava"])
def tuned(request, taught, tmp_path_factory):  # noqa: F811
    """The folder of a workspace with a student, whose ranks are 4 to 16."""
    lab = lab_with(
        taught,
        tmp_path_factory.mktemp(request.param) / "lab",
        section(request.param, ", low_rank: {method: dyqlora_fa}"),
    )
    tune_in(lab)
    return lab


def logits(model, asked):
    with torch.no_grad():
        return model(**asked).logits[:, -1]


def test_at_any_rank_adapter_and_whole_model_answer_as_the_student_does(tuned, tmp_path):
    to, student = tmp_path / "new" / "rank-8", tuned / "students" / "small"
    done = run("export", "--lab", tuned, "--rank", 8, "--to", to, "--json", "-q")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["folder"] == str(to)
    assert {"folder": str(to), **json.loads((to / "export.json").read_text())} == report
    assert (report["rank"], report["probes"]) == (8, 12)
    assert report["tensors"] == len(load_file(to / "adapter" / "adapter_model.safetensors")) == 2 * 4 * 7
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rank-8"]

    loaded = load(student)
    asked = probes(loaded, images(2))[1]
    trainer = restored(loaded.model, student / ADAPTER)
    trainer.set_rank(8)
    told = logits(trainer, asked)
    base = AutoModelForImageTextToText.from_pretrained(to / "base").eval()
    torch.testing.assert_close(logits(PeftModel.from_pretrained(base, to / "adapter"), asked), told)
    merged = AutoModelForImageTextToText.from_pretrained(to / "merged").eval()
    torch.testing.assert_close(logits(merged, asked), told)
    trainer.set_rank(None)
    assert not torch.allclose(logits(trainer, asked), told)


def test_the_highest_rank_is_the_student_itself_and_can_be_asked_by_its_folder(tuned, tmp_path):
    done = run("export", "--lab", tuned, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "rank 16" in done.stderr and "12 probes are answered alike" in done.stderr
    one, other = (Assistant.load(f) for f in (tuned / "students" / "small", tmp_path / "out" / "merged"))
    weights = one.model.state_dict()
    for name, tensor in other.model.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], atol=1e-6, rtol=1e-5)
    assert one.card == other.card
    asked = run("ask", "--lab", tuned, "--student", tmp_path / "out" / "merged", "--list")
    assert asked.exit_code == 0, asked.output


def as_the_page_shows(of, folder):
    """What a snippet of docs/adapt.md on loading answers, run in ``folder``; ``of`` is a word in it."""
    page = (CHECKOUT / "docs" / "adapt.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (snippet,) = (block for block in blocks if "rank-8/base" in block and of in block)
    Image.fromarray(images(1)[0]).save(folder / "new.png")
    names = {}
    exec(snippet, names)
    return names


def test_the_page_shows_how_a_student_is_loaded_and_asked(tuned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("export", "--lab", tuned, "--rank", 8, "--to", "rank-8").exit_code == 0
    names = as_the_page_shows("AutoProcessor", tmp_path)
    merged = Assistant.load(tmp_path / "rank-8" / "merged")
    assert names["answer"] == merged.answer([images(1)[0]], ["What does this image show?"])


@pytest.mark.parametrize("kind", MODELS)
def test_the_page_shows_how_a_model_of_the_hub_is_loaded_and_asked(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, processor = MODELS[kind](), chats(kind)
    model.generation_config.max_new_tokens = 4
    probe = dict(processor.to_ask([[Exchange([IMAGE, "Is it bright?"])]], [images(1)]))
    export(adapted(model.requires_grad_(False), LowRankSection(), 0), Path("rank-8"), 8, [probe], processor)
    names = as_the_page_shows("ChatProcessor", tmp_path)
    assert len(names["answer"]) == 1 and isinstance(names["answer"][0], str)


@pytest.mark.parametrize("rank", [3, 17])
def test_a_rank_that_was_not_tuned_is_refused(tuned, tmp_path, rank):
    done = run("export", "--lab", tuned, "--rank", rank, "--to", tmp_path / "out")
    assert done.exit_code == 2
    assert done.stderr == f"error: rank {rank} was not tuned: choose one from 4 to 16\n"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_in_use_is_left_alone(tuned, tmp_path):
    (tmp_path / "mine").write_text("mine")
    done = run("export", "--lab", tuned, "--to", tmp_path)
    assert done.exit_code == 2 and "is there already: name a folder that is new or empty" in done.stderr
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_student_of_an_earlier_recipe_is_exported_with_a_remark(tuned, tmp_path):
    shutil.copytree(tuned, tmp_path / "lab")
    recipe = tmp_path / "lab" / "micrographia.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 1, batch: 8, texts", "epochs: 2, batch: 8, texts"))
    done = run("export", "--lab", tmp_path / "lab", "--rank", 3, "--to", tmp_path / "out")
    assert done.stderr.startswith("small: images, conversations or recipe have changed since it was tuned")


def test_an_adapter_that_lost_a_tensor_is_refused_with_the_count(tuned, tmp_path):
    shutil.copytree(tuned, tmp_path / "lab")
    file = tmp_path / "lab" / "students" / "small" / ADAPTER / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({key: tensors[key] for key in sorted(tensors)[1:]}, file)
    done = run("export", "--lab", tmp_path / "lab", "--to", tmp_path / "out")
    assert done.exit_code == 1 and "1 are missing" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lab"]


def test_an_adapter_of_peft_s_own_is_exported_as_it_is(taught, tmp_path):  # noqa: F811
    more = ", low_rank: {method: dora, rank: 2, lowest_rank: 1}"
    lab = lab_with(taught, tmp_path / "lab", section(more=more))
    folder, _ = tune_in(lab)
    refused = run("export", "--lab", lab, "--rank", 1, "--to", tmp_path / "out")
    assert refused.exit_code == 2 and "the adapter has rank 2 alone" in refused.stderr
    done = run("export", "--lab", lab, "--to", tmp_path / "out")
    assert done.exit_code == 0, done.output
    kept, written = (
        load_file(f / "adapter" / "adapter_model.safetensors") for f in (folder, tmp_path / "out")
    )
    assert kept.keys() == written.keys()
    assert all(torch.equal(kept[name], written[name]) for name in kept)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"recipe": "{}"}, "is an MVaEMa, which is trained whole and has no adapter"),
        ({"family": "maemi", "recipe": "{}"}, "has no adapter in its folder adapter"),
        (
            {"family": "maemi", "recipe": '{"tune": {"low_rank": {"method": "none"}}}'},
            "was tuned with tune.low_rank.method none",
        ),
    ],
)
def test_a_student_without_adapters_is_refused(taught, tmp_path, changes, problem):  # noqa: F811
    lab = lab_with(taught, tmp_path / "lab", section())
    student = lab / "students" / "small"
    write_student(student)
    card = json.loads((student / "card.json").read_text())
    (student / "card.json").write_text(json.dumps(card | changes))
    done = run("export", "--lab", lab, "--to", tmp_path / "out")
    assert done.exit_code == 1 and problem in done.stderr
    assert not (tmp_path / "out").exists()
