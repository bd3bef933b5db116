"""Long work as bars with rate and time left; where nobody watches a terminal, as a line for each tenth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from micrographia.engine import SILENT, Progress

SHORTEST = 0.5
"""Seconds of work before a rate is told: items that come in batches come all at once."""


@dataclass
class Tally:
    """How far one task is. The clock of the rate starts at the first advance: what an earlier run did and
    what it took to get going are not counted.
    """

    task: str
    total: int | None
    unit: str
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        self._begun = self.clock()
        self._first: tuple[int, float] | None = None
        self._last = self._begun

    def advance(self, count: int, note: str) -> None:
        """``count`` more are done."""
        self.done += count
        self.note = note
        self._last = self.clock()
        if self._first is None:
            self._first = (self.done, self._last)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self.clock() - self._begun

    @property
    def rate(self) -> float | None:
        """Per second; None as long as there is too little to tell it from."""
        if self._first is None or self._last - self._first[1] < SHORTEST or self.done == self._first[0]:
            return None
        return (self.done - self._first[0]) / (self._last - self._first[1])

    @property
    def seconds_left(self) -> float | None:
        """None where the end or the rate is not known."""
        if self.total is None or self.rate is None:
            return None
        return max(0, self.total - self.done) / self.rate

    def figures(self) -> str:
        """``120 of 1800 images, 35/s, 0:48 left``."""
        words = [
            f"{self.done} {self.unit}" if self.total is None else f"{self.done} of {self.total} {self.unit}"
        ]
        if self.rate is not None:
            words.append(f"{self.rate:.3g}/s" if self.rate >= 1 else f"{1 / self.rate:.3g} s each")
        if self.seconds_left is not None:
            words.append(f"{duration(self.seconds_left)} left")
        return ", ".join(words)


def duration(seconds: float) -> str:
    """``0:48`` or ``1:02:30``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Lines:
    """A line when a task has come another tenth of its way, or twice as far where the end is not known."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._tallies: list[Tally] = []
        self._next: list[float] = []

    def begin(self, task: str, total: int | None = None, unit: str = "items") -> None:
        """A task starts."""
        self._tallies.append(Tally(task, total, unit, self._clock))
        self._next.append(total / 10 if total else 1)
        if total != 0:
            self._write(f"{task} ..." if total is None else f"{task}: {total} {unit}")

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say so where it is time."""
        tally = self._tallies[-1]
        tally.advance(count, note)
        if tally.done < self._next[-1] or tally.done == tally.total:
            return
        step = tally.total / 10 if tally.total else tally.done
        self._next[-1] = (tally.done // step + 1) * step
        self._write(f"{tally.task}: {tally.figures()}{f'  {note}' if note else ''}")

    def end(self) -> None:
        """Say how long it took."""
        tally = self._tallies.pop()
        self._next.pop()
        if tally.total == 0:
            self._write(f"{tally.task}: nothing to do")
            return
        note = f"  {tally.note}" if tally.note else ""
        self._write(f"{tally.task}: {tally.done} {tally.unit} in {duration(tally.seconds)}{note}")


class Bars:
    """A bar for each task that is under way; those that are over stay on the screen."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._tasks: list[tuple[TaskID, Tally]] = []

    def begin(self, task: str, total: int | None = None, unit: str = "items") -> None:
        """A bar more."""
        tally = Tally(task, total, unit)
        identity = self._bars.add_task(task, total=total, figures=tally.figures(), note="")
        self._tasks.append((identity, tally))

    def advance(self, count: int = 1, note: str = "") -> None:
        """Move the newest bar."""
        identity, tally = self._tasks[-1]
        tally.advance(count, note)
        self._bars.update(identity, completed=tally.done, figures=tally.figures(), note=note)

    def end(self) -> None:
        """Leave the bar as it is, full where the end was not known."""
        identity, tally = self._tasks.pop()
        figures = f"{tally.done} {tally.unit} in {duration(tally.seconds)}"
        self._bars.update(identity, total=tally.total or tally.done, figures=figures)
        self._bars.stop_task(identity)


@contextmanager
def shown_on(console: Console, quiet: bool = False) -> Iterator[Progress]:
    """Progress as this console can show it, for the length of a block."""
    if quiet:
        yield SILENT
    elif not console.is_terminal:
        yield Lines(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", style="cyan", markup=False),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )
        with RichProgress(*columns, console=console) as bars:
            yield Bars(bars)
