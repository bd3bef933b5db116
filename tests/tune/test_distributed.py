"""Two processes, weights cut up between them, learn what one process learns with the same recipe."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from micrographia.errors import PlanError
from micrographia.tune import processes
from micrographia.tune.card import read_card
from micrographia.tune.train import tune
from micrographia.workspace import RECIPE as RECIPE_FILE
from micrographia.workspace import open_workspace
from tests.students.hub_models import MODELS
from tests.tune.launched import Watched, learn
from tests.tune.small import RECIPE, Counting, decided

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "tune.md").read_text(encoding="utf-8")
COMMAND = shlex.split(re.search(r"^\$ (accelerate launch .* tune --lab my-lab)$", PAGE, re.MULTILINE)[1])
"""What the page shows."""

FAMILIES = {
    "maemi": "  family: maemi\n  language_model: {steps: 1}\n  low_rank: {dropout: 0}\n",
    "llava": "  family: llava\n  language_model: {steps: 1}\n  projector: {epochs: 1}\n",
}
"""What dropout leaves out is drawn for a share by itself, and so is another with other shares."""


def launched(*words, until="-m"):
    """The page's launcher, of whose own words some may be left out, with another program."""
    launcher = COMMAND[: COMMAND.index(until)]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [*launcher, *words], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def assert_same(curve, other):
    assert [entry["step"] for entry in curve] == [entry["step"] for entry in other]
    for entry, other_entry in zip(curve, other, strict=True):
        assert entry == pytest.approx(other_entry, rel=1e-4)


@pytest.fixture(params=FAMILIES)
def lab(request, taught, tmp_path):
    """A lab, its arithmetic chosen."""
    folder = tmp_path / "one"
    shutil.copytree(taught, folder)
    (folder / RECIPE_FILE).write_text(
        RECIPE.replace("\n  epochs: 1", "\n  epochs: 2") + FAMILIES[request.param], encoding="utf-8"
    )
    return decided(folder)


def test_the_command_of_the_page_makes_the_student_of_one_process(lab, tmp_path):
    """With gradient checkpointing too, which changes no student."""
    shutil.copytree(lab, tmp_path / "two")
    recipe = (lab / RECIPE_FILE).read_text(encoding="utf-8")
    (tmp_path / "two" / RECIPE_FILE).write_text(recipe + "  gradient_checkpointing: true\n", encoding="utf-8")
    with open_workspace(lab) as workspace:
        one = read_card(tune(workspace, progress=Counting()))
    said = launched(*COMMAND[COMMAND.index("-m") : -1], str(tmp_path / "two"))
    two = read_card(tmp_path / "two" / "students" / "small")
    assert len(one.curve) == 6
    assert_same(one.label_curve, two.label_curve)
    assert_same(one.curve, two.curve)
    assert said.count("the student is in") == 1
    assert [path.name for path in (tmp_path / "two" / "students").iterdir()] == ["small"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What two processes have learned, beside what one had begun."""
    folder = tmp_path_factory.mktemp("launched")
    assert learn(folder / "killed by one", Watched(kill_at=6)) is None
    launched("-m", "tests.tune.launched", str(folder))
    return folder, json.loads((folder / "told.json").read_text())


def test_a_killed_run_is_gone_on_with_by_another_number_of_processes(told, tmp_path):
    folder, by_two = told
    curve = learn(tmp_path / "one", Watched())
    assert by_two["sharded"] > 10
    assert by_two["killed"] is None
    assert_same(curve, by_two["through"])
    assert_same(curve, by_two["resumed"])
    assert_same(curve, learn(folder / "killed by two", Watched()))


def test_without_the_words_on_fsdp_each_holds_all_weights(told, tmp_path):
    launched("-m", "tests.tune.launched", str(tmp_path), "through", until="--use_fsdp")
    by_two = json.loads((tmp_path / "told.json").read_text())
    assert by_two["sharded"] == 0
    assert_same(told[1]["through"], by_two["through"])


@pytest.mark.parametrize("kind", MODELS)
def test_models_of_the_hub_learn_the_same_by_two(told, tmp_path, kind):
    """Qwen3-VL is not told how many answer tokens a step has; LLaVA has the tower of CLIP without its
    text."""
    _, by_two = told
    assert_same(learn(tmp_path, Watched(), kind), by_two[kind])


def test_images_that_cannot_be_shared_evenly_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(PlanError, match=r"tune\.batch is 16 .* 3 processes .* multiple of 3"):
        processes.require_shares(16, "tune.batch")
    with pytest.raises(PlanError, match="3 processes would see its share of them alone"):
        processes.require_one("MVaEMa compares the images of a step with one another")
