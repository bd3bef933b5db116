"""Ingest, teach and tune one workspace in a process that can be killed.

``python -m tests.stages LAB IMAGES`` prints a line for every bit of progress, so that a kill can be aimed.
"""

import sys
from pathlib import Path

from micrographia.micrographs.ingest import ingest
from micrographia.teach.generate import teach
from micrographia.workspace import open_workspace


class Printed:
    """Progress as lines: how far the task is, the task, a note."""

    def begin(self, task, total=None, unit="items"):
        self.task, self.done = task, 0
        self.say(f"of {total}")

    def advance(self, count=1, note=""):
        self.done += count
        self.say(note)

    def end(self):
        self.say("end")

    def say(self, note):
        sys.stdout.write(f"{self.done}\t{self.task}\t{note}\n")
        sys.stdout.flush()


def main(lab, images):
    with open_workspace(lab) as workspace:
        ingest(workspace, [images], progress=Printed())
        teach(workspace, progress=Printed())
        from micrographia.tune.train import (
            tune,
        )  # brings torch, which takes seconds: not for the first stages

        tune(workspace, progress=Printed())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
