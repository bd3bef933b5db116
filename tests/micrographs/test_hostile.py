"""200 instrument files, cut, garbled and lying: each ends in a reason or an image, never in a crash."""

import random
import resource
import signal
import sys
from contextlib import contextmanager

import pytest

from micrographia.errors import UnreadableFile
from micrographia.micrographs.picture import picture_of
from tests.micrographs import instruments as made

WHOLE = {
    "dm3": made.dm(3),
    "dm4": made.dm(4),
    "velox": made.velox(),
    "berkeley": made.berkeley(),
    "ser": made.ser(),
    "mrc": made.mrc(),
    "fei": made.tiff((34682, made.fei_text())),
    "zeiss": made.tiff((34118, made.zeiss_bytes())),
    "tescan": made.tiff((50431, made.tescan_bytes())),
    "imagej": made.tiff(resolution=(4.0, 4.0), resolutionunit=1, description="ImageJ=1.54f\nunit=nm\n"),
}
SECONDS = 5
EACH = 20


def cut(data, random):
    return data[: random.randrange(len(data))]


def garble(data, random):
    for _ in range(random.randrange(1, 200)):
        data[random.randrange(len(data))] = random.randrange(256)
    return data


def garble_head(data, random):
    for _ in range(random.randrange(1, 12)):
        data[random.randrange(min(len(data), 1200))] = random.randrange(256)
    return data


def swap(data, random):
    first, second = sorted(random.randrange(len(data)) for _ in range(2))
    n = min(200, len(data) - second, second - first)
    data[first : first + n], data[second : second + n] = data[second : second + n], data[first : first + n]
    return data


def claim_the_most(data, random):
    for _ in range(6):
        at = random.randrange(min(len(data) - 8, 1500))
        data[at : at + 4] = b"\xff\xff\xff\x7f"
    return data


@contextmanager
def at_most(seconds):
    def stop(*_):
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no alarm on Windows")
@pytest.mark.parametrize("name", WHOLE)
def test_mutated_files_end_in_a_reason(name):
    ways = (cut, garble, garble_head, swap, claim_the_most)
    outcomes = []
    for seed in range(EACH):
        draw = random.Random(f"{name} {seed}")
        data = bytes(ways[seed % len(ways)](bytearray(WHOLE[name]), draw))
        with at_most(SECONDS):
            try:
                picture_of(data, f"{name}-{seed}")
                outcomes.append("read")
            except UnreadableFile as fault:
                assert str(fault).startswith(f"{name}-{seed}: ")
                assert len(str(fault)) > 30
                outcomes.append("refused")
    assert "refused" in outcomes


def test_memory_stays_small():
    """Of this whole process, after the files above or without them."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = bytearray(made.dm(3))
    for at in range(100, len(data) - 8, 997):
        data[at : at + 8] = b"\x7f" * 8
        try:
            picture_of(bytes(data), "large.dm3")
        except UnreadableFile:
            continue
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - kilobytes < 2**20
