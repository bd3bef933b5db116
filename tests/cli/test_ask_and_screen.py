"""The verbs of the assistant, with a student of random weights: what they print and how they end."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from micrographia.assistant import Assistant
from micrographia.assistant.record import subjects_asked
from micrographia.cli import app
from micrographia.cli.ask import ask
from micrographia.micrographs.display import to_display
from micrographia.recipe import parse, shipped_text
from micrographia.teach.questions import load
from micrographia.workspace import Workspace
from tests.assistant.tiny import QUESTIONS, images, write_student


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    workspace = Workspace.create(tmp_path_factory.mktemp("desk") / "lab", shipped_text("mvaema"))
    write_student(workspace.student_folder())
    write_student(workspace.folder / "students" / "another", seed=1)
    return workspace.folder


@pytest.fixture
def picture(tmp_path):
    """A 16-bit TIFF."""
    path = tmp_path / "new.tif"
    tifffile.imwrite(path, images(1)[0].astype(np.uint16) * 40 + 3000)
    return path


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def assistant_of(lab, name=None):
    return Assistant.load(lab / "students" / name if name else Workspace(lab).student_folder())


def test_ask_prints_the_answer_alone(lab, picture):
    done = run("ask", "--lab", lab, picture, QUESTIONS[1])
    image, _ = to_display(tifffile.imread(picture))
    assert done.exit_code == 0, done.output
    assert done.stdout == assistant_of(lab).ask(image, QUESTIONS[1]).text + "\n"


def test_ask_without_a_question_draws_the_first_classes(lab, picture):
    done = run("ask", "--lab", lab, picture)
    image, _ = to_display(tifffile.imread(picture))
    look = assistant_of(lab).ask(image)
    assert done.exit_code == 0, done.output
    assert look.text in done.stdout
    shown = done.stdout.splitlines()[-3:]
    for line, (label, probability) in zip(shown, look.ranking, strict=True):
        assert line.split()[:2] == [label, f"{probability:.1%}"]
        assert "█" in line or probability < 0.03


@pytest.mark.parametrize("question", [None, QUESTIONS[2]])
def test_ask_for_a_script(lab, picture, question):
    done = run("ask", "--lab", lab, picture, *([question] if question else []), "--json")
    assistant = assistant_of(lab)
    look = assistant.ask(to_display(tifffile.imread(picture))[0], question)
    assert json.loads(done.stdout) == {
        "image": str(picture),
        "question": question or QUESTIONS[0],
        "answered_by": "student",
        "answer": look.text,
        "ranking": [list(pair) for pair in look.ranking],
        "confidence": look.confidence,
        "student": assistant.identity,
        "taught": True,
    }


def test_ask_lists_what_the_student_was_taught(lab):
    shown = run("ask", "--lab", lab, "--list").stdout.splitlines()
    assert shown[:2] == ["How rough is the surface?", "Is it bright?"]
    assert "How large are the particles?" in shown[2:]
    listed = json.loads(run("ask", "--lab", lab, "--list", "--json").stdout)
    assert listed["questions"] == [["How rough is the surface?", "Is the surface rough?"], ["Is it bright?"]]
    assert [phrasings[0] for phrasings in listed["from_the_record"]] == shown[2:]


def test_a_question_about_the_scale_is_answered_from_the_file(lab, tmp_path):
    path = tmp_path / "scaled.tif"
    options = {"imagej": True, "resolution": (0.2, 0.2), "metadata": {"unit": "nm"}}
    tifffile.imwrite(path, images(1)[0], **options)
    done = run("ask", "--lab", lab, path, "How large is one pixel?")
    assert done.stdout.startswith("The pixel size is 5 nm.")
    assert "not from the student; scale: single: 5 nm by header" in " ".join(done.output.split())
    told = json.loads(run("ask", "--lab", lab, path, "How large is one pixel?", "--json").stdout)
    assert told["answered_by"] == "record"
    assert told["claims"][0]["quantity"] == {"value": 5.0, "unit": "nm"}
    assert told["scale"]["verdict"] == "single"


def test_the_record_needs_no_student(tmp_path, picture):
    lab = Workspace.create(tmp_path / "empty", shipped_text("mvaema")).folder
    done = run("ask", "--lab", lab, picture, "How many particles are there?")
    assert done.exit_code == 0, done.output
    assert "particles" in done.stdout


@pytest.mark.parametrize("question", ["is the surface  ROUGH", "How rough is the surface? Answer briefly."])
def test_a_question_that_was_taught_is_answered_without_remark(lab, picture, question):
    assert run("ask", "--lab", lab, picture, question).stderr == ""
    assert json.loads(run("ask", "--lab", lab, picture, question, "--json").stdout)["taught"]


def test_a_question_that_was_not_taught_is_answered_with_a_remark(lab, picture):
    near = run("ask", "--lab", lab, picture, "How coarse is the surface?")
    assert near.exit_code == 0 and near.stdout
    assert "was not taught this question" in near.stderr
    assert f"`micrographia ask --lab {lab} --list`" in near.stderr
    assert near.stderr.rstrip().endswith("the nearest it was: How rough is the surface?")
    far = run("ask", "--lab", lab, picture, "Paris?")
    assert "was not taught" in far.stderr and "nearest" not in far.stderr


def test_ask_about_what_is_not_one_image(lab, picture, tmp_path):
    assert "name the image" in run("ask", "--lab", lab).stderr
    assert "micrographia screen" in run("ask", "--lab", lab, tmp_path).stderr
    assert "is a file" in run("ask", "--lab", lab, picture, picture).stderr
    swapped = run("ask", "--lab", lab, "Is it bright?", picture)
    assert swapped.exit_code == 2 and "is a file" in swapped.stderr


def test_questions_shown_in_help_and_readme_are_taught_by_the_first_recipe(lab):
    sets = [load(name) for name in parse(shipped_text("mvaema"), "mvaema").teach.questions]
    taught = {phrasing for s in sets for question in s.questions for phrasing in question.ask}
    text = Path("README.md").read_text(encoding="utf-8") + str(ask.__doc__)
    shown = re.findall(r'new\.png "([^"]+)"', text)
    assert shown.count("In which direction do the features run?") == 2
    assert all(question in taught or subjects_asked(question) for question in shown)


def test_ask_another_student(lab, picture):
    done = run("ask", "--lab", lab, picture, "--student", "another", "--json")
    assert json.loads(done.stdout)["student"] == assistant_of(lab, "another").identity
    wrong = run("ask", "--lab", lab, picture, "--student", "../lab")
    assert wrong.exit_code == 1 and "another" in wrong.stderr


@pytest.mark.parametrize("words", [[""], ["word " * 500], ["µ" * 200]])
def test_a_question_that_cannot_be_answered(lab, picture, words):
    done = run("ask", "--lab", lab, picture, *words)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the question")


def test_ask_about_what_is_no_image(lab, tmp_path):
    for name, content in (("notes.txt", b"words"), ("cut.png", b"\x89PNG\r\n\x1a\n")):
        (tmp_path / name).write_bytes(content)
        done = run("ask", "--lab", lab, tmp_path / name)
        assert done.exit_code == 1 and done.stderr.startswith(f"error: {name}")
    assert run("ask", "--lab", lab, tmp_path / "nowhere.png").exit_code == 2


def test_ask_before_tuning(tmp_path, picture):
    Workspace.create(tmp_path / "lab", shipped_text("mvaema"))
    done = run("ask", "--lab", tmp_path / "lab", picture)
    assert done.exit_code == 1 and "micrographia tune" in done.stderr


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, image in enumerate(images(3)):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def test_screen_writes_a_table_and_says_how_many(lab, pictures, tmp_path):
    done = run("screen", "--lab", lab, pictures, "--out", tmp_path / "table.parquet")
    assert done.exit_code == 0, done.output
    assert "3 images, 3 of them looked at now" in done.stderr and done.stdout == ""
    assert (
        "3 images, 0 of them"
        in run("screen", "--lab", lab, pictures, "-o", tmp_path / "table.parquet").stderr
    )


def test_screen_ends_with_1_where_a_file_could_not_be_read(lab, pictures, tmp_path):
    shutil.copy(pictures / "0.png", pictures / "cut.png")
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:200])
    done = run("screen", "--lab", lab, pictures, "--out", tmp_path / "table.csv", "--json", "--quiet")
    assert done.exit_code == 1
    assert done.stderr.startswith("error: images that could not be read: 1 (cut.png")
    said = json.loads(done.stdout)
    assert (said["images"], said["computed"], said["skipped"]) == (4, 4, 0)
    assert [error["path"] for error in said["errors"]] == ["cut.png"]
    assert said["student"] == assistant_of(lab).identity
    assert len((tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()) == 5


def test_screen_refuses_a_table_it_cannot_write(lab, pictures, tmp_path):
    assert run("screen", "--lab", lab, pictures, "--out", tmp_path / "table.txt").exit_code == 2
