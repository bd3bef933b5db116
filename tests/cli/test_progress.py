"""Progress is readable in a log, and its rate is that of this run."""

import io

import pytest
from rich.console import Console

from micrographia.cli.progress import Lines, Tally, duration, shown_on


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_rate_and_time_left_leave_out_what_an_earlier_run_did():
    clock = Clock()
    tally = Tally("tuning", 1000, "steps", clock)
    clock.now += 30  # loading
    tally.advance(500, "resumed")
    assert tally.rate is None and tally.seconds_left is None
    for _ in range(10):
        clock.now += 2
        tally.advance(1, "")
    assert tally.rate == pytest.approx(0.5)
    assert tally.seconds_left == pytest.approx(490 / 0.5)
    assert tally.figures() == "510 of 1000 steps, 2 s each, 16:20 left"


def test_the_end_is_not_guessed_where_it_is_not_known():
    clock = Clock()
    tally = Tally("looking for files", None, "files", clock)
    tally.advance(1, "")
    clock.now += 1
    tally.advance(3, "")
    assert tally.figures() == "4 files, 3/s"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3750, "1:02:30")])
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("total", [7, 10, 1800])
def test_a_line_for_each_tenth(total):
    lines = []
    progress = Lines(lines.append, Clock())
    progress.begin("reading", total, "images")
    for _ in range(total):
        progress.advance()
    progress.end()
    assert lines[0] == f"reading: {total} images"
    assert lines[-1] == f"reading: {total} images in 0:00"
    assert len(lines) == 2 + min(total, 10) - 1


def test_what_is_done_already_is_one_line():
    lines = []
    progress = Lines(lines.append, Clock())
    progress.begin("reading", 0, "images")
    progress.end()
    assert lines == ["reading: nothing to do"]


def test_lines_grow_rarer_where_the_end_is_not_known():
    lines = []
    progress = Lines(lines.append, Clock())
    progress.begin("looking", None, "files")
    for _ in range(1000):
        progress.advance()
    progress.end()
    assert lines[1].startswith("looking: 1 files")
    assert len(lines) == 2 + 10


def test_tasks_within_tasks():
    lines = []
    progress = Lines(lines.append, Clock())
    progress.begin("epochs", 2)
    progress.begin("steps", 1)
    progress.advance()
    progress.end()
    progress.advance()
    progress.end()
    assert [line.split(":")[0] for line in lines] == ["epochs", "steps", "steps", "epochs", "epochs"]


def test_bars_show_task_figures_and_note_on_a_terminal():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    with shown_on(console) as progress:
        progress.begin("tuning", 3, "steps")
        progress.advance(2, "loss 0.5 [validation]")
        progress.advance()
        progress.end()
    assert "tuning" in screen.getvalue()
    assert "3 steps in 0:00" in screen.getvalue()


def test_quiet_is_silent():
    screen = io.StringIO()
    with shown_on(Console(file=screen), quiet=True) as progress:
        progress.begin("tuning", 3, "steps")
        progress.advance()
        progress.end()
    assert screen.getvalue() == ""
