"""What every verb promises: help that teaches, errors in one line, exit statuses that mean something."""

import json

import pytest
import typer
from typer.testing import CliRunner

from micrographia.cli import Verbs, app
from micrographia.errors import PlanError, RecipeError, WorkLeftOut


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def failing(error):
    broken = typer.Typer(cls=Verbs)
    broken.callback()(lambda: None)

    @broken.command()
    def verb():
        raise error

    return CliRunner().invoke(broken, ["verb"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WorkLeftOut("2 of 9 files could not be read", "`micrographia status` lists them"), 1),
        (PlanError("the batch is [larger] than the data", "make it smaller"), 1),
        (RecipeError("split.folds is 1", "a k-fold split needs at least 2 folds"), 2),
    ],
)
def test_what_can_be_mended_is_said_in_one_line(error, status):
    done = failing(error)
    assert done.exit_code == status
    assert done.stderr == f"error: {error}\n"
    assert done.stdout == ""


def test_an_interrupt_says_that_the_next_run_goes_on():
    done = failing(KeyboardInterrupt())
    assert done.exit_code == 130
    assert "goes on" in done.stderr


def test_a_fault_of_ours_keeps_its_traceback():
    done = failing(ZeroDivisionError())
    assert isinstance(done.exception, ZeroDivisionError)


def test_every_verb_has_help_with_an_example():
    for verb in typer.main.get_command(app).commands:
        done = run(verb, "--help")
        assert done.exit_code == 0
        assert f"Example: micrographia {verb}" in done.stdout


def test_an_unknown_option_is_a_usage_error():
    assert run("status", "--no-such-option").exit_code == 2


def test_init_writes_a_recipe_that_can_be_edited(tmp_path):
    lab = tmp_path / "lab"
    assert run("init", lab, "--recipe", "quickstart").exit_code == 0
    text = (lab / "micrographia.yaml").read_text(encoding="utf-8")
    assert text.startswith("#") and "recipe: quickstart" in text
    assert [file.name for file in lab.iterdir()] == ["micrographia.yaml"]


def test_init_leaves_a_workspace_as_it_is(tmp_path):
    run("init", tmp_path)
    (tmp_path / "micrographia.yaml").write_text("# mine\n", encoding="utf-8")
    done = run("init", tmp_path)
    assert done.exit_code == 1 and "is a workspace already" in done.stderr
    assert (tmp_path / "micrographia.yaml").read_text(encoding="utf-8") == "# mine\n"


def test_init_names_the_recipes_there_are(tmp_path):
    done = run("init", tmp_path / "lab", "--recipe", "mine")
    assert done.exit_code == 2
    assert "mvaema" in done.stderr and "quickstart" in done.stderr
    assert not (tmp_path / "lab").exists()


def test_status_of_a_folder_that_is_no_workspace(tmp_path):
    done = run("status", "--lab", tmp_path)
    assert done.exit_code == 1
    assert "micrographia init" in done.stderr


def test_status_of_a_new_workspace(tmp_path):
    run("init", tmp_path)
    done = run("status", "--lab", tmp_path, "--json")
    assert done.exit_code == 0
    state = json.loads(done.stdout)
    assert state["ingest"] == {
        "done": 0,
        "files": {"taken": 0, "refused": 0, "skipped": 0},
        "parts": {},
        "left_out": [],
    }
