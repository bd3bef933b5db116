"""A small lab for the tests of tuning: drawn micrographs, and the shortest recipe that does everything."""

import numpy as np
from PIL import Image

from micrographia import phantoms
from micrographia.tune.corpus import corpus_of
from micrographia.workspace import open_workspace

CLASSES = ("Fibres", "Patterned Surface", "Powder")

RECIPE = """
workers: 1
split: {test: 0.2, validation: 0.2}
teach: {questions: [textures, caption, category]}
tune:
  name: small
  labels: {epochs: 1, batch: 8}
  epochs: 1
  batch: 8
  texts_per_image: 3
"""


def draw_classes(folder, each):
    """A folder a class, each with so many images of 96 x 96 px."""
    for category in CLASSES:
        (folder / category).mkdir(parents=True)
        for i in range(each):
            drawn = phantoms.draw(category, seed=i, size=(96, 96))
            Image.fromarray(drawn.image).save(folder / category / f"{i}.png")
    return folder


def decided(lab):
    """The lab, its arithmetic chosen; it is chosen by timing, and another makes another student."""
    with open_workspace(lab) as workspace:
        fingerprint = corpus_of(workspace, 0).fingerprint(workspace.recipe.tune)
    training = lab / "students" / f".small-training-{fingerprint[:12]}"
    training.mkdir(parents=True)
    (training / "precision.json").write_text('{"bf16": false, "reason": "tests"}', encoding="utf-8")
    return lab


def noise(count, side=64, seed=0):
    """Pixels as ``prepare`` gives them: (count, 1, side, side), half precision, in [-1, 1]."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, 1, side, side)).astype(np.float16)


class Counting:
    """Progress that remembers what it was told."""

    def __init__(self):
        self.tasks = {}
        self.notes = []

    def begin(self, task, total=None, unit="items"):
        self.tasks[task] = 0

    def advance(self, count=1, note=""):
        self.tasks[list(self.tasks)[-1]] += count
        self.notes.append(note)

    def end(self):
        pass
