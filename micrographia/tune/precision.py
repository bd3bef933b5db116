"""Which arithmetic to train in, and why: bfloat16 only where this processor is measurably faster with it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import torch

from micrographia.tune.processes import first_alone

PAYS = 1.5
"""bfloat16 loses digits; it has to be this many times faster to be chosen."""

SIZE = 384
"""Side of the matrices that are multiplied to find out: the order of a small student's layers."""

REPEATS = 5


class Precision(NamedTuple):
    """The choice, with its reason for the plan."""

    bf16: bool
    reason: str


def choose_once(path: Path) -> Precision:
    """The choice that lies in ``path``; where there is none, one that is made and kept there.

    A training that goes on after a kill so goes on in the arithmetic in which it began.
    """
    with first_alone():
        if path.exists():
            return Precision(**json.loads(path.read_text(encoding="utf-8")))
        precision, draft = choose(), path.with_suffix(".part")
        draft.write_text(json.dumps(precision._asdict()), encoding="utf-8")
        draft.replace(path)
        return precision


def choose() -> Precision:
    """Measured on this machine in a few hundredths of a second."""
    if torch.cuda.is_available():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        name = torch.cuda.get_device_name()
        return Precision(supported, f"{name} {'has' if supported else 'lacks'} bfloat16 units")
    single, half = _seconds(torch.float32), _seconds(torch.bfloat16)
    return Precision(
        half * PAYS < single,
        f"bfloat16 takes {half / single:.2g} times as long as float32 in a product of {SIZE} x {SIZE} here",
    )


def _seconds(dtype: torch.dtype) -> float:
    """The quickest of several products: other work on the machine only ever makes one slower."""
    a = torch.ones(SIZE, SIZE, dtype=dtype)
    a @ a
    return min(_timed_product(a) for _ in range(REPEATS))


def _timed_product(a: torch.Tensor) -> float:
    start = time.perf_counter()
    a @ a
    return time.perf_counter() - start
