"""Items that fail, crash their process or are killed take nobody with them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from micrographia import engine
from micrographia.engine import WINDOW_PER_WORKER, Outcome, apply, available_workers, few_at_a_time
from micrographia.errors import DamagedFile

REPOSITORY = Path(__file__).resolve().parent.parent


def double(number):
    return 2 * number


def double_slowly_at_first(number):
    time.sleep(0.2 if number == 0 else 0)
    return 2 * number


def fussy(number):
    if number == 1:
        raise DamagedFile("one.png ends early", "copy it again")
    if number == 2:
        raise ZeroDivisionError("by nothing")
    return number


def crash(item):
    """End the process as a fault in native code or the out-of-memory killer would."""
    if item == "exits":
        os._exit(3)
    if item == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper()


def leave_a_trace(folder):
    """Say which process this is, and work until it ends."""
    (folder / str(os.getpid())).touch()
    time.sleep(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_outcomes_come_in_the_order_of_the_items(workers):
    outcomes = list(apply(double_slowly_at_first, range(20), workers))
    assert outcomes == [Outcome(i, 2 * i) for i in range(20)]
    assert all(outcome.ok for outcome in outcomes)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_becomes_the_reason_of_its_item(workers):
    assert list(apply(fussy, range(4), workers)) == [
        Outcome(0, 0),
        Outcome(1, None, "one.png ends early: copy it again"),
        Outcome(2, None, "unexpected ZeroDivisionError: by nothing"),
        Outcome(3, 3),
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_to_do(workers):
    assert list(apply(double, [], workers)) == []


def test_a_worker_that_dies_costs_its_own_item_only():
    items = [*"abc", "exits", *"defghijklm", "is killed", *"nop"]
    outcomes = list(apply(crash, items, 2))
    assert [outcome.item for outcome in outcomes] == items
    for outcome in outcomes:
        if len(outcome.item) == 1:
            assert outcome == Outcome(outcome.item, outcome.item.upper())
        else:
            assert not outcome.ok
            assert "died" in outcome.reason


def test_a_worker_that_dies_while_its_outcomes_are_being_used():
    """The pool is found broken when the next item is handed in, not when a result is fetched."""
    outcomes = []
    for outcome in apply(crash, [*"ab", "exits", *"cdefghijklmn"], 2):
        outcomes.append(outcome)
        time.sleep(0.5 if outcome.item == "a" else 0)
    assert [outcome.result for outcome in outcomes] == [*"AB", None, *"CDEFGHIJKLMN"]


def test_every_item_may_crash():
    outcomes = list(apply(crash, ["exits"] * 3, 2))
    assert [outcome.ok for outcome in outcomes] == [False] * 3


@pytest.mark.parametrize(("workers", "window"), [(1, 1), (2, 2 * WINDOW_PER_WORKER)])
def test_items_are_taken_as_they_are_needed(workers, window):
    taken = []

    def items():
        for i in range(40):
            taken.append(i)
            yield i

    for used, _ in enumerate(apply(double, items(), workers)):
        assert len(taken) - used <= window
    assert len(taken) == 40


def test_who_stops_listening_is_not_held_up():
    outcomes = apply(double, iter(range(10**9)), 2)
    assert next(outcomes).result == 0
    outcomes.close()
    assert list(outcomes) == []


def test_without_workers_there_is_no_work():
    assert available_workers() >= 1
    with pytest.raises(ValueError, match="workers is 0"):
        apply(double, [1], 0)


PROGRAM = """
import sys
from pathlib import Path
from micrographia.engine import apply
from tests.test_engine import leave_a_trace
if __name__ == "__main__":
    list(apply(leave_a_trace, [Path(sys.argv[1])] * 4, workers=2))
"""


def wait_until(done, seconds=30):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_workers_end_when_their_parent_is_killed(tmp_path):
    traces = tmp_path / "traces"
    traces.mkdir()
    (tmp_path / "run.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, tmp_path / "run.py", traces], env=environment)
    wait_until(lambda: len(list(traces.iterdir())) == 2)
    children = [int(trace.name) for trace in traces.iterdir()]
    assert all(is_running(child) for child in children)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_running(child) for child in children))


INTERRUPTED = """
import signal
import sys
from pathlib import Path
from micrographia.engine import apply
from tests.test_engine import leave_a_trace_for_a_moment
if __name__ == "__main__":
    # What runs in the background of a script begins with interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        list(apply(leave_a_trace_for_a_moment, [Path(sys.argv[1])] * 1000, workers=2))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def leave_a_trace_for_a_moment(folder):
    """Say which process this is, and do a little work."""
    (folder / str(os.getpid())).touch()
    time.sleep(0.1)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks here")
@pytest.mark.parametrize("wait_for_workers", [True, False])
def test_ctrl_c_is_answered_by_the_parent_alone(tmp_path, wait_for_workers):
    """A terminal sends it to the whole process group, also to workers that are still starting."""
    traces = tmp_path / "traces"
    traces.mkdir()
    (tmp_path / "run.py").write_text(INTERRUPTED)
    run = [sys.executable, tmp_path / "run.py", traces]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        run, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as parent:
        started = traces.iterdir if wait_for_workers else psutil.Process(parent.pid).children
        wait_until(lambda: len(list(started())) >= 2)
        os.killpg(parent.pid, signal.SIGINT)
        out, err = parent.communicate(timeout=30)
    assert (out, err) == (b"interrupted\n", b"")


def test_a_batch_holds_no_more_items_and_bytes_than_allowed(monkeypatch):
    monkeypatch.setattr(engine, "BYTES_AT_ONCE", 10)
    sizes = [4, 6, 1, 11, 3, 3, 3, 3, 0]
    assert list(few_at_a_time(sizes, 3, int)) == [[4, 6], [1], [11], [3, 3, 3], [3, 0]]
    assert list(few_at_a_time(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(few_at_a_time([], 2)) == []


def test_a_full_batch_does_not_wait_for_the_next_item():
    items = iter([1, 2, 3])
    assert next(few_at_a_time(items, 2)) == [1, 2]
    assert next(items) == 3
