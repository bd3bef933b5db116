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
# machine that makes tuning several times slower; to sleep at once makes it half as slow again where nothing
# does. Those of GNU's OpenMP spin for some ten microseconds, then sleep (docs/results.md).
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}

from micrographia.students.auto_classes import register_students

__version__ = version("micrographia")

register_students()
