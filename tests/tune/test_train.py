"""The stage as a whole: from conversations to a folder that `transformers` loads, once."""

import json
import shutil
from importlib import import_module

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor
from typer.testing import CliRunner

from micrographia.cli import app
from micrographia.errors import PlanError
from micrographia.micrographs.display import open_display
from micrographia.micrographs.ingest import ingest
from micrographia.teach.generate import current_course, for_a_student, questions_asked
from micrographia.tune import mvaema
from micrographia.tune.card import CARD, read_card
from micrographia.tune.train import tune
from micrographia.workspace import RECIPE as RECIPE_FILE
from micrographia.workspace import Workspace, open_workspace
from tests.tune.small import CLASSES, RECIPE, Counting

LEARNING = {"learning labels", "looking at the images", "learning words"}


@pytest.fixture(scope="module")
def tuned(taught, tmp_path_factory):
    """A workspace with its student, what was said, and the tasks there were."""
    lab = tmp_path_factory.mktemp("tuned") / "lab"
    shutil.copytree(taught, lab)
    lines, progress = [], Counting()
    with open_workspace(lab) as workspace:
        folder = tune(workspace, progress=progress, say=lines.append)
    assert folder == lab / "students" / "small"
    return lab, lines, progress


@pytest.fixture
def copy(tuned, tmp_path):
    """A copy of that workspace to spoil."""
    shutil.copytree(tuned[0], tmp_path / "lab")
    return tmp_path / "lab"


def tune_again(lab, said=None):
    """What had to be done."""
    progress = Counting()
    with open_workspace(lab) as workspace:
        tune(workspace, progress=progress, say=(said if said is not None else []).append)
    return set(progress.tasks)


def students(lab):
    return sorted(path.name for path in (lab / "students").iterdir())


def weights(lab, name="small"):
    return load_file(lab / "students" / name / "model.safetensors")


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_student_is_loaded_by_transformers_and_speaks(tuned):
    lab, _, _ = tuned
    student = AutoModelForImageTextToText.from_pretrained(lab / "students" / "small").eval()
    processor = AutoProcessor.from_pretrained(lab / "students" / "small")
    card = read_card(lab / "students" / "small")
    with open_workspace(lab) as workspace:
        image = Image.fromarray(open_display(workspace.objects, workspace.catalog.micrographs("test")[0]))
    inputs = processor(images=[image], text=[card.category_question])
    said = student.generate(**inputs, max_new_tokens=8)
    assert isinstance(processor.said(said, inputs["input_ids"])[0], str)
    assert said.shape[1] > inputs["input_ids"].shape[1]
    assert torch.isfinite(student(**inputs).logits).all()


def test_the_card_says_what_it_learned(tuned):
    lab, lines, _ = tuned
    card = read_card(lab / "students" / "small")
    assert card.classes == CLASSES
    assert card.plan == "\n".join(lines)
    assert {"catalog", "workers"}.isdisjoint(json.loads(card.recipe)), (
        "a database's address may hold a password"
    )
    with open_workspace(lab) as workspace:
        catalog = workspace.catalog
        train_images = len(catalog.micrographs("train"))
        train = [c for c in catalog.conversations(current_course(workspace), "train") if for_a_student(c)]
        prompts = {
            task: {c.prompt for c in catalog.conversations(current_course(workspace), "train", task=task)}
            for task in ("category", "caption")
        }
        seen = {m.id for part in ("train", "validation") for m in catalog.micrographs(part)}
    assert card.category_question in prompts["category"] and card.caption_question in prompts["caption"]
    assert card.questions == questions_asked(train)
    assert len(card.seen) == len(seen) and {*card.seen} == seen
    assert card.images == train_images
    assert f"{train_images} train" in lines[0] and "(kept away)" in lines[0]
    steps = train_images // 8
    assert [entry["step"] for entry in card.curve] == [steps, steps]
    assert {"loss", "itc", "itm", "lm"} <= card.curve[0].keys()
    assert "eval_loss" in card.curve[1] and "eval_loss" in card.label_curve[1]


def test_the_stages_are_shown_as_they_go(tuned):
    _, _, progress = tuned
    assert list(progress.tasks) == [
        "preparing images",
        "learning labels",
        "looking at the images",
        "learning words",
    ]
    assert progress.tasks["preparing images"] == 24


def test_test_images_take_no_part_in_learning(taught, tmp_path, monkeypatch):
    shutil.copytree(taught, tmp_path / "lab")
    seen = []

    def watched(*arguments, **more):
        seen.extend([*arguments[2].images, *arguments[3].images])
        return fit(*arguments, **more)

    fit = mvaema.fit
    monkeypatch.setattr(mvaema, "fit", watched)
    monkeypatch.setattr("micrographia.tune.labels.fit", watched)
    for module, name, rows_at in (("labels", "some_at_a_time", 1), ("mvaema", "look", 2)):
        used = getattr(import_module(f"micrographia.tune.{module}"), name)

        def noting(*arguments, used=used, rows_at=rows_at):
            seen.extend(arguments[rows_at])
            return used(*arguments)

        monkeypatch.setattr(f"micrographia.tune.{module}.{name}", noting)
    with open_workspace(tmp_path / "lab") as workspace:
        tune(workspace)
        rows = {m.id: row for row, m in enumerate(workspace.catalog.micrographs())}
        test = {rows[m.id] for m in workspace.catalog.micrographs("test")}
    assert test and set(seen) == set(range(24)) - test


def test_a_student_whose_card_cannot_be_read_is_made_anew(copy):
    """As one of an earlier version, whose card says less."""
    (copy / "students" / "small" / CARD).write_text('{"images": 3}')
    assert tune_again(copy) >= LEARNING
    assert read_card(copy / "students" / "small").images > 3


def test_status_tells_a_student_of_an_earlier_recipe_from_that_of_today(copy):
    def state():
        done = CliRunner().invoke(app, ["status", "--lab", str(copy), "--json"])
        return json.loads(done.stdout)["tune"]

    assert (state()["done"], state()["missing"], state()["left_out"]) == (1, 0, [])
    recipe = (copy / RECIPE_FILE).read_text()
    (copy / RECIPE_FILE).write_text(recipe.replace("texts_per_image: 3", "texts_per_image: 2"))
    assert (state()["done"], state()["missing"]) == (0, 1)
    assert "have changed since it was tuned" in state()["left_out"][0]["reason"]


def test_what_is_tuned_is_not_tuned_again(copy):
    before = (copy / "students" / "small" / "model.safetensors").stat().st_mtime_ns
    assert tune_again(copy) == set()
    assert (copy / "students" / "small" / "model.safetensors").stat().st_mtime_ns == before


def test_the_same_recipe_and_data_give_the_same_student(tuned, taught, tmp_path):
    shutil.copytree(taught, tmp_path / "lab")
    tune_again(tmp_path / "lab")
    assert same_weights(weights(tmp_path / "lab"), weights(tuned[0]))


def test_another_recipe_makes_another_student_in_its_place(tuned, copy):
    (copy / RECIPE_FILE).write_text(RECIPE + "  seed: 1\n", encoding="utf-8")
    said = []
    assert tune_again(copy, said) == LEARNING
    assert said[0] == "replaces     students/small, which another recipe made; another tune.name keeps both"
    assert students(copy) == ["small"]
    assert not same_weights(weights(copy), weights(tuned[0]))


def test_a_recipe_that_changes_nothing_for_the_student_changes_nothing(copy):
    (copy / RECIPE_FILE).write_text(RECIPE + "evaluate: {questions_per_image: 2}\n", encoding="utf-8")
    assert tune_again(copy) == set()


def test_another_name_is_another_student(copy):
    (copy / RECIPE_FILE).write_text(RECIPE.replace("name: small", "name: other"), encoding="utf-8")
    said = []
    assert tune_again(copy, said) == LEARNING
    assert said and not any(line.startswith("replaces") for line in said)
    assert students(copy) == ["other", "small"]
    assert same_weights(weights(copy, "other"), weights(copy))


def test_a_kill_after_the_old_student_was_moved_away_loses_nothing(tuned, copy):
    card = read_card(copy / "students" / "small")
    training = copy / "students" / f".small-training-{card.fingerprint[:12]}"
    training.mkdir()
    (copy / "students" / "small").rename(training / "replaced")
    (training / "student").mkdir()
    (training / "student" / "model.safetensors").write_bytes(b"half")
    assert tune_again(copy) == LEARNING
    assert students(copy) == ["small"]
    assert same_weights(weights(copy), weights(tuned[0]))


def test_a_kill_after_the_student_was_put_in_place_leaves_only_rubbish(copy):
    training = copy / "students" / ".small-training-0123456789ab"
    (training / "words").mkdir(parents=True)
    (training / "words" / "something.bin").write_bytes(bytes(10))
    assert tune_again(copy) == set()
    assert students(copy) == ["small"]


def test_the_training_of_an_earlier_recipe_is_not_gone_on_with(copy):
    earlier = copy / "students" / ".small-training-0123456789ab"
    shutil.copytree(copy / "students" / "small", earlier / "words" / "checkpoint-100")
    (copy / RECIPE_FILE).write_text(RECIPE + "  learning_rate: 0.002\n", encoding="utf-8")
    assert tune_again(copy) == LEARNING
    assert students(copy) == ["small"]


def test_each_fold_has_its_student(taught, tmp_path):
    shutil.copytree(taught, tmp_path / "lab")
    (tmp_path / "lab" / RECIPE_FILE).write_text(
        RECIPE.replace("split: {", "split: {folds: 3, "), encoding="utf-8"
    )
    with open_workspace(tmp_path / "lab") as workspace:
        ingest(workspace, [taught.parent / "images"])
        folder = tune(workspace, fold=1)
        assert folder.name == "small-fold1"
        assert read_card(folder).images == len(workspace.catalog.micrographs("train", fold=1))
    assert students(tmp_path / "lab") == ["small-fold1"]


def test_without_labels_first_the_eye_learns_with_the_words(copy):
    (copy / RECIPE_FILE).write_text(
        RECIPE.replace("labels: {epochs: 1", "labels: {epochs: 0"), encoding="utf-8"
    )
    assert tune_again(copy) == {"learning words"}
    card = read_card(copy / "students" / "small")
    assert card.label_curve == () and "learns together with the words" in card.plan


def test_a_student_learns_without_some_of_its_attentions(tuned, copy):
    off = "  cross_attention: false\n  causal_attention: false\n"
    (copy / RECIPE_FILE).write_text(RECIPE + off, encoding="utf-8")
    assert tune_again(copy) == LEARNING
    student = AutoModelForImageTextToText.from_pretrained(copy / "students" / "small")
    switches = student.config.self_attention, student.config.cross_attention, student.config.causal_attention
    assert switches == (True, False, False)
    gone = weights(tuned[0]).keys() - weights(copy).keys()
    assert {name.split(".")[3].removeprefix("norm_") for name in gone} == {"cross", "causal"}


def test_without_conversations_there_is_nothing_to_learn(tmp_path):
    with open_workspace(Workspace.create(tmp_path, RECIPE).folder) as workspace:
        with pytest.raises(PlanError, match="micrographia teach"):
            tune(workspace)
        assert not (tmp_path / "students").exists()


def test_an_image_that_is_lost_is_named(taught, tmp_path):
    lab = tmp_path / "lab"
    shutil.copytree(taught, lab)
    with open_workspace(lab) as workspace:
        lost = workspace.catalog.micrographs()[3]
        (lab / "objects" / lost.id[:2] / lost.id[2:]).unlink()
        with pytest.raises(PlanError, match=f"{lost.name} can no longer be read.*missing"):
            tune(workspace)
