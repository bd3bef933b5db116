"""Every command that the pages show is run, or is a target that the Makefile has; every link leads somewhere.

A fenced block marked ``console`` is a session: its lines after ``$`` run in order, in a folder holding what
the pages speak of: ``my-images`` (a folder a class), ``new.png`` and ``new-images``.
"""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from micrographia import phantoms
from micrographia.cli import app

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md")])
SMALL = {
    "tune": {"labels": {"epochs": 1}, "language_model": {"steps": 1}, "demonstrations": 0, "epochs": 1},
    "evaluate": {"questions_per_image": 1},
}
"""What is changed in every recipe, so that a session ends in seconds."""


def sessions(page: str) -> list[list[str]]:
    """The commands of each console block."""
    blocks = re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return [[line[2:] for line in block.splitlines() if line.startswith("$ ")] for block in blocks]


def targets() -> set[str]:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def shown() -> list:
    """Each session with the page's name as its id; a page's sessions are counted from 1."""
    return [
        pytest.param(commands, id=f"{page.relative_to(CHECKOUT)}-{number}")
        for page in PAGES
        for number, commands in enumerate(sessions(page.read_text(encoding="utf-8")), start=1)
    ]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Four classes of five small images each."""
    folder = tmp_path_factory.mktemp("drawn")
    for category in ("Fibres", "Particles", "Patterned Surface", "Tips"):
        (folder / category).mkdir()
        for seed in range(5):
            picture = Image.fromarray(phantoms.draw(category, seed, (128, 128)).image)
            picture.save(folder / category / f"{seed}.png")
    return folder


@pytest.fixture
def desk(tmp_path, drawn, monkeypatch):
    """The folder in which a session runs."""
    shutil.copytree(drawn, tmp_path / "my-images")
    shutil.copytree(drawn / "Fibres", tmp_path / "new-images")
    shutil.copy(next((drawn / "Tips").glob("*.png")), tmp_path / "new.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(words):
    """One `micrographia` command, with every recipe made small."""
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    if words[0] == "init":
        recipe = Path(words[1]) / "micrographia.yaml"
        content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
        for section, changes in SMALL.items():
            content[section] = content.get(section, {}) | changes
        recipe.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.mark.parametrize("commands", shown())
def test_a_session_does_what_it_shows(commands, desk):
    assert commands, "a console block without a command"
    for command in commands:
        program, *words = shlex.split(command)
        if program == "make":
            assert set(words) <= targets(), command
        elif program == "micrographia":
            run(words)
        elif program == "accelerate":
            continue  # tests/tune/test_distributed.py runs it
        else:
            assert command in ("source .venv/bin/activate", ".ci/run"), f"no test runs {command!r}"


def test_the_first_page_shows_the_way():
    assert sessions((CHECKOUT / "README.md").read_text(encoding="utf-8"))


def test_sessions_are_found():
    page = "a\n```console\n$ make test\nprinted\n$ micrographia --help\n```\nb\n```\n$ not this\n```\n"
    assert sessions(page) == [["make test", "micrographia --help"]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [a for a in links if "://" not in a and not (page.parent / a).exists()]
    assert missing == []


def test_every_room_is_on_the_map():
    text = (CHECKOUT / "docs" / "README.md").read_text(encoding="utf-8")
    package = CHECKOUT / "micrographia"
    rooms = {f"{f.parent.name}/" for f in package.glob("*/__init__.py")} - {"recipes/"}
    rooms |= {f.name for f in package.glob("*.py")} - {"__init__.py"}
    assert {room for room in rooms if f"](../micrographia/{room.rstrip('/')})" not in text} == set()


def test_every_page_is_on_the_map():
    text = (CHECKOUT / "docs" / "README.md").read_text(encoding="utf-8")
    assert {f.name for f in CHECKOUT.glob("docs/*.md") if f"({f.name})" not in text} == {"README.md"}
