"""Micrographia: a lab's micrographs in, a small private assistant for them out.

The rooms, in the order a file walks through them:

    micrographs   pixels and their scale
    phantoms      drawn micrographs with exact truth
    measure       numbers from pixels
    students      the models
    teach         questions, answers, and the facts behind them
    tune          a student learns them
    assistant     a tuned student at work
    evaluate      tables with intervals, and a report
    cli           one thin file a verb

``records`` holds what crosses rooms, ``catalog`` keeps it, ``engine`` runs work over many items,
``recipe`` says what to do and ``workspace`` is the folder in which it is done.

The one import below makes the Auto classes of ``transformers`` know our students; it loads neither.
"""

import os
from importlib.metadata import version

# Threads of torch that wait for each other burn their processor meanwhile. Where anything else runs on the
# machine that makes tuning several times slower; sleeping costs a tenth on an idle one (docs/results.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from micrographia.students.auto_classes import register_students

__version__ = version("micrographia")

register_students()
