"""Commands in an error are for the workspace that was given; and the version."""

import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from micrographia.cli import Verb, Verbs, app
from micrographia.cli.console import HERE, LAB_VERBS, Lab, at_work, with_lab
from micrographia.errors import PlanError, RecipeError
from micrographia.workspace import Workspace


def test_the_verbs_that_take_a_workspace_are_known():
    commands = typer.main.get_command(app).commands
    taking = [name for name, verb in commands.items() if any("--lab" in p.opts for p in verb.params)]
    assert sorted(LAB_VERBS) == sorted(taking)


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ("tune again: micrographia tune", "tune again: micrographia tune --lab lab"),
        ("`micrographia status` lists them", "`micrographia status --lab lab` lists them"),
        ("`micrographia run IMAGES` does", "`micrographia run --lab lab IMAGES` does"),
        (
            "`micrographia teach`, then `micrographia tune --lab x`",
            "`micrographia teach --lab lab`, then `micrographia tune --lab x`",
        ),
        ("micrographia run --lab x IMAGES", "micrographia run --lab x IMAGES"),
        ("micrographia ask IMAGE --lab x", "micrographia ask IMAGE --lab x"),
        ("`micrographia init x` makes one", "`micrographia init x` makes one"),
        ("see micrographia quickstart", "see micrographia quickstart"),
        ("check the path", "check the path"),
        ("", ""),
    ],
)
def test_commands_are_for_the_workspace(words, there):
    assert with_lab(words, Path("lab")) == there
    assert with_lab(words, HERE) == words


@pytest.mark.parametrize("lab", ["my lab ä", r"a\1 lab", "it's"])
def test_the_workspace_is_quoted_for_the_shell(lab):
    assert shlex.split(with_lab("micrographia tune", Path(lab))) == ["micrographia", "tune", "--lab", lab]


def failing(error, *words):
    """A command line whose verb raises ``error`` at its work."""
    broken = typer.Typer(cls=Verbs)
    broken.callback()(lambda: None)

    @broken.command(cls=Verb)
    def verb(lab: Lab = HERE):
        with at_work(lab, quiet=True):
            raise error

    return CliRunner().invoke(broken, ["verb", *words])


@pytest.mark.parametrize(("kind", "status"), [(PlanError, 1), (RecipeError, 2)])
def test_an_error_names_a_command_that_works(tmp_path, monkeypatch, kind, status):
    monkeypatch.chdir(tmp_path)
    Workspace.create(Path("my lab"), "").close()
    done = failing(kind("no text", "teach first: micrographia teach"), "--lab", "my lab")
    assert done.stderr == "error: no text: teach first: micrographia teach --lab 'my lab'\n"
    assert done.exit_code == status
    monkeypatch.chdir("my lab")
    done = failing(kind("no text", "teach first: micrographia teach"))
    assert done.stderr == "error: no text: teach first: micrographia teach\n"
    assert done.exit_code == status


def test_so_does_one_that_is_raised_when_the_work_is_over(tmp_path):
    lab, image = tmp_path / "my lab", tmp_path / "torn.png"
    Workspace.create(lab, "").close()
    image.write_bytes(b"torn")
    done = CliRunner().invoke(app, ["ingest", "--lab", str(lab), str(image)])
    assert done.exit_code == 1
    assert f"`micrographia status --lab '{lab}'` lists" in done.stderr


def test_every_verb_does_so():
    assert all(isinstance(verb, Verb) for verb in typer.main.get_command(app).commands.values())


def test_the_version_is_told_without_torch():
    program = (
        "import sys\nfrom micrographia.cli import app\n"
        "app(['--version'], standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"micrographia {version('micrographia')}\n"


def test_the_version_comes_before_the_verb():
    done = CliRunner().invoke(app, ["--version", "status", "--lab", "nowhere"])
    assert (done.exit_code, done.stderr) == (0, "")
