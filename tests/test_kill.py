"""Killed ten times at random moments of every stage, the work ends as if it had never been disturbed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from micrographia.tune.card import read_card
from micrographia.workspace import Workspace
from tests.tune.small import CLASSES, draw_classes

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGES_PER_CLASS = 24
LABEL_EPOCHS, EPOCHS, BATCH = 3, 4, 16
RECIPE = f"""
workers: 1
split: {{test: 0.15, validation: 0.15}}
teach: {{questions: [caption, category]}}
tune:
  name: small
  labels: {{epochs: {LABEL_EPOCHS}, batch: {BATCH}}}
  epochs: {EPOCHS}
  batch: {BATCH}
  texts_per_image: 2
"""

KILLS = (
    ("reading files", 33, 40),
    ("reading files", 1, 8),
    ("finding landmarks", 33, 40),
    ("measuring", 33, 40),
    ("teaching", 32, 32),
    ("preparing images", 1, 70),
    ("learning labels", 4, 5),
    ("looking at the images", 1, 40),
    ("learning words", 4, 5),
    ("learning words", 10, 11),
)
"""Where each run is killed: up to ten milliseconds after its progress in the stage has come to a random
number between these. The first stages commit every 32 images, the last ones keep a checkpoint every epoch."""


class Line(NamedTuple):
    """A line of ``tests.stages``."""

    done: int
    task: str
    note: str


def start(lab, images):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.stages", lab, images]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY)


def follow(process):
    for text in process.stdout:
        done, task, note = text.rstrip("\n").split("\t")
        yield Line(int(done), task, note)


def finish(lab, images):
    with start(lab, images) as process:
        lines = list(follow(process))
    assert process.returncode == 0
    return lines


def kill(lab, images, task, at, delay):
    """Run until ``task`` has come to ``at``, then kill after ``delay`` seconds."""
    lines = []
    with start(lab, images) as process:
        for line in follow(process):
            lines.append(line)
            if line.task == task and line.done >= at and process.returncode is None:
                time.sleep(delay)
                process.kill()
                process.wait()
    assert process.returncode == -signal.SIGKILL
    return lines


class Story(NamedTuple):
    """Two workspaces over the same images, one of them killed again and again."""

    undisturbed: Path
    killed: Path
    first: list[Line]
    """What the undisturbed run said."""
    runs: list[list[Line]]
    """What each killed run said, and the last one, which was let be."""


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    images = draw_classes(folder / "images", IMAGES_PER_CLASS)
    labs = [Workspace.create(folder / name, RECIPE).folder for name in ("undisturbed", "killed")]
    first = finish(labs[0], images)
    rng = random.Random(0)
    runs = [
        kill(labs[1], images, task, rng.randint(low, high), rng.uniform(0, 0.01)) for task, low, high in KILLS
    ]
    runs.append(finish(labs[1], images))
    return Story(*labs, first, runs)


def tables(lab):
    with sqlite3.connect(lab / "catalog.sqlite") as file:
        names = [name for (name,) in file.execute("select name from sqlite_master where type = 'table'")]
        return {name: sorted(file.execute(f"select * from {name}")) for name in names}


def test_the_catalogue_is_the_same_to_the_last_row(story):
    undisturbed, killed = tables(story.undisturbed), tables(story.killed)
    assert killed == undisturbed
    count = IMAGES_PER_CLASS * len(CLASSES)
    full = {name: len(rows) for name, rows in killed.items()}
    for name in ("sources", "micrographs", "landmarks", "measurements", "lessons", "parts"):
        assert full[name] == count
    assert full["conversations"] > 2 * count


def test_every_image_is_one_object_and_half_ones_are_none(story):
    ids = {row[0] for row in tables(story.killed)["micrographs"]}
    for lab in (story.undisturbed, story.killed):
        files = [path for path in (lab / "objects").rglob("*") if path.is_file()]
        assert {path.parent.name + path.name for path in files if path.suffix != ".part"} == ids


def test_the_students_are_the_same(story):
    folders = [lab / "students" / "small" for lab in (story.undisturbed, story.killed)]
    undisturbed, killed = (load_file(folder / "model.safetensors") for folder in folders)
    assert undisturbed.keys() == killed.keys()
    for name, values in undisturbed.items():
        torch.testing.assert_close(killed[name], values, rtol=1e-4, atol=1e-5, msg=name)
    cards = [read_card(folder) for folder in folders]
    assert cards[0].fingerprint == cards[1].fingerprint
    assert cards[0].classes == cards[1].classes == CLASSES


def test_no_step_is_in_the_learning_curve_twice(story):
    cards = [read_card(lab / "students" / "small") for lab in (story.undisturbed, story.killed)]
    for one, other in ((cards[0].curve, cards[1].curve), (cards[0].label_curve, cards[1].label_curve)):
        steps = [entry["step"] for entry in other if "eval_loss" in entry]
        assert steps == sorted(set(steps)) == [entry["step"] for entry in one if "eval_loss" in entry]
        for entry, same in zip(one, other, strict=True):
            assert entry == pytest.approx(same, rel=1e-3)


def test_every_stage_went_on_where_it_was_killed(story):
    """The work that a later run finds is what the run before had left, never all of it again."""
    for task in ("reading files", "finding landmarks", "measuring", "teaching"):
        totals = [line.note for run in story.runs for line in run if line.task == task]
        found = [int(note[3:]) for note in totals if note.startswith("of ") and note != "of 0"]
        assert found[0] == IMAGES_PER_CLASS * len(CLASSES)
        assert found == sorted(found, reverse=True) and found[-1] < found[0]


def test_tuning_went_on_from_its_last_checkpoint(story):
    steps = max(line.done for line in story.first if line.task == "learning words") // EPOCHS
    runs = [lines for run in story.runs if (lines := [line for line in run if line.task == "learning words"])]
    assert len(runs) == 3
    for before, after in pairwise(runs):
        resumed = after[1].done
        assert after[1].note == f"resumed at step {resumed}"
        # The step that ends an epoch is told just before its checkpoint is written.
        assert steps <= (before[-1].done - 1) // steps * steps <= resumed <= before[-1].done
        assert resumed % steps == 0
    # The first stage of tuning was over by then, so the last run does not train it again.
    assert "learning labels" in {line.task for line in story.first}
    assert not {"learning labels", "looking at the images"} & {line.task for line in story.runs[-1]}


def test_nothing_of_the_training_is_left_behind(story):
    for lab in (story.undisturbed, story.killed):
        assert [path.name for path in (lab / "students").iterdir()] == ["small"]
