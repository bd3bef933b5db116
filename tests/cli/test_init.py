"""`init` says what it made, and its next command can be pasted."""

import re
import shlex

import pytest
from typer.testing import CliRunner

from micrographia.cli import app
from micrographia.recipe import parse, shipped
from micrographia.teach import questions


def init(lab):
    return CliRunner().invoke(app, ["init", str(lab)])


def next_command(done):
    return shlex.split(done.stderr.splitlines()[-1].removeprefix("next: "))


@pytest.mark.parametrize("name", ["lab", "my lab ä", "it's $HOME"])
def test_the_next_command_can_be_pasted(tmp_path, name):
    done = init(tmp_path / name)
    assert done.exit_code == 0
    assert next_command(done) == ["micrographia", "ingest", "--lab", str(tmp_path / name), "PATH-TO-IMAGES"]


def test_it_says_which_questions_are_asked_and_where_others_are(tmp_path):
    words = init(tmp_path / "lab").stderr
    assert ", ".join(parse("", "default").teach.questions) in words
    assert "`micrographia teach --list`" in words
    assert "surfaces" in words and "surfaces" in questions.shipped()


@pytest.mark.parametrize(("name", "told"), [("a.png", True), ("Fibres", True), (".DS_Store", False)])
def test_a_folder_with_other_files_is_taken_with_a_remark(tmp_path, name, told):
    (tmp_path / name).mkdir() if name == "Fibres" else (tmp_path / name).touch()
    done = init(tmp_path)
    assert done.exit_code == 0 and (tmp_path / "micrographia.yaml").is_file()
    assert (f"{tmp_path} already holds files" in done.stderr) == told


def test_a_new_folder_gets_no_such_remark(tmp_path):
    assert "already holds" not in init(tmp_path / "lab").stderr


def test_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "lab").touch()
    done = init(tmp_path / "lab")
    assert done.exit_code == 1
    assert done.stderr == f"error: {tmp_path / 'lab'} is a file: name a folder for the workspace\n"


def test_help_names_every_recipe_there_is():
    words = CliRunner().invoke(app, ["init", "--help"]).stdout.partition("to start from:")[2]
    assert set(shipped()) <= set(re.findall(r"\w+", words))
