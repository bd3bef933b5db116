"""What a step of training and an answer of the default student cost, and what waiting threads do to it.

    python -m benchmarks.student [--json] [--repeats 10]

Images and words are made up: only sizes matter. Everything is timed with torch's threads waiting as they
come ("spinning"), asleep, and as Micrographia asks for ("briefly": they spin for a moment, then sleep), each
on the machine as it is and with one more process that keeps a processor busy. Keys end in ``_spinning``,
``_asleep``, ``_briefly``, and in ``_spinning_busy`` and so on; values are the median time in seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import command

if TYPE_CHECKING:
    from torch import Tensor

CHECKOUT = Path(__file__).resolve().parents[1]
IMAGES, TEXTS, LENGTH, VOCABULARY = 16, 128, 32, 1500
QUESTIONS, NEW_TOKENS, CLASSES = 64, 30, 10
UNSET = {"spinning": ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"), "asleep": ("GOMP_SPINCOUNT",), "briefly": ()}
"""By how threads wait, what of Micrographia's own environment is taken back."""


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median of some repeats, after a first that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def timings(repeats: int) -> dict[str, float]:
    """Of this process, with its environment."""
    import torch

    torch.manual_seed(0)
    return {
        "label_step": seconds(label_step(), repeats),
        "word_step": seconds(word_step(), repeats),
        **{name: seconds(work, max(2, repeats // 3)) for name, work in answers().items()},
        "threads": torch.get_num_threads(),
    }


def label_step() -> Callable[[], None]:
    """One step of the first stage."""
    import torch

    from micrographia.students.configuration import VisionConfig
    from micrographia.students.vision import LabelledVision
    from micrographia.tune.muon import Muon

    model = LabelledVision(VisionConfig(labels={"class": [str(i) for i in range(CLASSES)]}))
    optimizer = Muon(model)
    pixels, labels = torch.randn(IMAGES, 1, 128, 128), torch.randint(CLASSES, (IMAGES, 1))

    def step() -> None:
        optimizer.zero_grad()
        model(pixels, labels).loss.backward()
        optimizer.step()

    return step


def word_step() -> Callable[[], None]:
    """One step of the second stage, all three losses, the eye locked."""
    import torch

    from micrographia.students.configuration import MVaEMaConfig
    from micrographia.students.mvaema import MVaEMaForConditionalGeneration
    from micrographia.tune.muon import Muon

    config = MVaEMaConfig.default(VOCABULARY)
    model = MVaEMaForConditionalGeneration(config)
    model.vision.requires_grad_(False)
    optimizer = Muon(model)
    ids = words(TEXTS, LENGTH)
    batch = {
        "image_tokens": torch.randn(IMAGES, config.vision_config.tokens, config.vision_config.hidden_size),
        "image_cls": torch.randn(IMAGES, config.vision_config.hidden_size),
        "input_ids": ids,
        "labels": ids,
        "image_index": torch.arange(TEXTS) * IMAGES // TEXTS,
        "itc_input_ids": words(IMAGES, LENGTH),
    }

    def step() -> None:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()

    return step


def answers() -> dict[str, Callable[[], object]]:
    """Sixty-four questions answered, and sixty-four images classified."""
    import torch

    from micrographia.students.configuration import MVaEMaConfig
    from micrographia.students.mvaema import MVaEMaForConditionalGeneration

    model = MVaEMaForConditionalGeneration(MVaEMaConfig.default(VOCABULARY)).eval()
    pixels, questions = torch.randn(QUESTIONS, 1, 128, 128), words(QUESTIONS, 10)
    length = {"min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS}
    return {
        "answers_greedy": lambda: model.generate(questions, pixel_values=pixels, **length),
        "answers_3_beams": lambda: model.generate(questions, pixel_values=pixels, num_beams=3, **length),
        "classes": lambda: model.score_labels(pixels, words(1, 10)[0], words(CLASSES, 6)),
    }


def words(*shape: int) -> Tensor:
    """Ids of ordinary words."""
    import torch

    return torch.randint(10, VOCABULARY, shape)


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """With one more process that never rests."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def in_own_process(waiting: str, repeats: int) -> dict[str, float]:
    """How threads wait is read once, when torch is loaded."""
    command = [sys.executable, "-m", "benchmarks.student", "--child", waiting, "--repeats", str(repeats)]
    environment = {name: value for name, value in os.environ.items() if name not in UNSET["spinning"]}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def figures(repeats: int) -> dict[str, float]:
    """All six cases in one flat object."""
    made: dict[str, float] = {}
    for crowded in (False, True):
        for waiting in UNSET:
            with busy(crowded):
                found = in_own_process(waiting, repeats)
            made["threads"] = found.pop("threads")
            name = waiting + "_busy" * crowded
            made |= {f"{key}_{name}": round(value, 4) for key, value in found.items()}
    return made


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="times that each step is timed")
    parser.add_argument("--child", choices=UNSET, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        import micrographia  # noqa: F401  # says how threads wait; torch, which it does not load, reads that later

        for name in UNSET[options.child]:
            del os.environ[name]
        print(json.dumps(timings(options.repeats)))
        return
    made = figures(options.repeats)
    command.show(made, options.json)


if __name__ == "__main__":
    main()
