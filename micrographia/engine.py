"""Apply a function to many items, in this process or in local processes, so that no item can stop the rest.

Outcomes come back in the order of the items, at most a small window of them is in flight, and an item whose
worker process dies (a crash in native code, the out-of-memory killer) becomes an outcome with its reason.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

from micrographia.errors import MicrographiaError

Item = TypeVar("Item")
Result = TypeVar("Result")

WINDOW_PER_WORKER = 4
"""Items in flight per worker: enough to keep it busy, few enough to bound memory."""

BYTES_AT_ONCE = 1 << 28
"""Large items are taken fewer at a time, so that a batch holds no more than this."""


class Progress(Protocol):
    """What long work tells of itself; the command line draws it as bars."""

    def begin(self, task: str, total: int | None = None, unit: str = "items") -> None:
        """A task starts; ``total`` is None where the end is not known."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """``count`` more are done; ``note`` is a word on the present state (a loss, a file's name)."""

    def end(self) -> None:
        """The task that was begun last is over."""


class Silent:
    """The progress of work that nobody watches."""

    def begin(self, task: str, total: int | None = None, unit: str = "items") -> None:
        """Nothing to show."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Nothing to show."""

    def end(self) -> None:
        """Nothing to show."""


SILENT = Silent()


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """The result for one item, or why there is none."""

    item: Item
    result: Result | None
    reason: str | None = None

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.reason is None


def available_workers() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def few_at_a_time(
    items: Iterable[Item], most: int, bytes_of: Callable[[Item], int] | None = None
) -> Iterator[list[Item]]:
    """Batches of at most ``most`` items, and of BYTES_AT_ONCE unless one alone has more."""
    batch: list[Item] = []
    held = 0
    for item in items:
        size = bytes_of(item) if bytes_of else 0
        if batch and held + size > BYTES_AT_ONCE:
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size
        if len(batch) == most:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def apply(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 1
) -> Iterator[Outcome[Item, Result]]:
    """Outcomes of ``function`` over ``items``, in their order.

    With more than one worker the function, the items and the results must be picklable, and a worker ends
    when this process is killed. Workers import the calling script anew, which needs the usual
    ``if __name__ == "__main__":`` around what it does.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, at least 1 is needed")
    if workers == 1:
        return (_attempt(function, item) for item in items)
    return _apply_in_processes(function, iter(items), workers)


def _attempt(function: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    try:
        return Outcome(item, function(item))
    except MicrographiaError as error:
        return Outcome(item, None, str(error))
    except Exception as error:
        return Outcome(item, None, f"unexpected {type(error).__name__}: {error}")


def _apply_in_processes(
    function: Callable[[Item], Result], items: Iterator[Item], workers: int
) -> Iterator[Outcome[Item, Result]]:
    pool = _pool(workers)
    flying: deque[tuple[Item, Future[Outcome[Item, Result]]]] = deque()
    try:
        while True:
            room = workers * WINDOW_PER_WORKER - len(flying)
            flying.extend((item, _hand_in(pool, function, item)) for item in islice(items, room))
            if not flying:
                return
            item, future = flying.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                pool.shutdown(wait=False)
                yield _attempt_alone(function, item)
                while flying:
                    yield _again(function, *flying.popleft())
                pool = _pool(workers)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _hand_in(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item
) -> Future[Outcome[Item, Result]]:
    """A pool that has just lost a worker refuses the item: that is found out when its turn comes."""
    try:
        with _interrupts_held_back():
            return pool.submit(_attempt, function, item)
    except BrokenProcessPool as error:
        refused: Future[Outcome[Item, Result]] = Future()
        refused.set_exception(error)
        return refused


def _again(
    function: Callable[[Item], Result], item: Item, future: Future[Outcome[Item, Result]]
) -> Outcome[Item, Result]:
    """What a broken pool had done of an item; alone, what it had not."""
    try:
        return future.result()
    except BrokenProcessPool:
        return _attempt_alone(function, item)


def _attempt_alone(function: Callable[[Item], Result], item: Item) -> Outcome[Item, Result]:
    """In a process of its own, so that it is known which item ends its worker."""
    with _pool(1) as pool:
        try:
            return _hand_in(pool, function, item).result()
        except BrokenProcessPool:
            return Outcome(item, None, "the process working on it died (crash or out of memory)")


def _pool(workers: int) -> ProcessPoolExecutor:
    # Forking a process that has threads (OpenMP, a progress bar) can deadlock; spawned ones start clean.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """A worker that is started here never hears Ctrl-C, which a terminal sends to every process at once.

    This one answers it for all, when what is done here is over.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by what is started
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """A worker waits on a queue whose other end it holds itself, so it would outlive a killed parent."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
