"""bfloat16 only where it is measurably faster, and the reason is said."""

import pytest
import torch

from micrographia.tune import precision
from micrographia.tune.precision import PAYS, Precision, choose, choose_once


def test_this_machine_has_a_choice_and_a_reason():
    chosen = choose()
    assert isinstance(chosen.bf16, bool)
    assert "bfloat16" in chosen.reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is asked for its units, not measured")
@pytest.mark.parametrize(("half", "bf16"), [(0.1, True), (0.99 / PAYS, True), (0.9, False), (4.0, False)])
def test_bfloat16_has_to_pay(monkeypatch, half, bf16):
    monkeypatch.setattr(precision, "_seconds", lambda dtype: half if dtype == torch.bfloat16 else 1.0)
    assert choose().bf16 == bf16
    assert f"{half:.2g} times as long" in choose().reason


def test_a_run_that_goes_on_keeps_the_choice_it_began_with(tmp_path, monkeypatch):
    path = tmp_path / "precision.json"
    for half, expected in ((0.1, True), (4.0, True)):
        monkeypatch.setattr(precision, "choose", lambda half=half: Precision(half < 1, f"{half}"))
        assert choose_once(path) == Precision(expected, "0.1")


def test_one_interruption_does_not_change_the_choice(monkeypatch):
    clock = iter(range(1000))
    slow = {0: 50.0}  # the first product is held up

    def now():
        tick = next(clock)
        return tick + sum(delay for at, delay in slow.items() if tick > at)

    monkeypatch.setattr(precision.time, "perf_counter", now)
    assert precision._seconds(torch.float32) == 1
