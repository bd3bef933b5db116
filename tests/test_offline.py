"""The socket guard that stands in for a network namespace lets nothing out, and loopback through."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GUARD = Path(__file__).parent / "offline"


def guarded(source: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(GUARD)}
    return subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "socket.socket().connect(('192.0.2.1', 80))",
        "socket.socket(socket.AF_INET6).connect(('2001:db8::1', 80))",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "socket.getaddrinfo('micrographs.example', 80)",
        "socket.gethostbyname('micrographs.example')",
        "__import__('urllib.request').request.urlopen('http://micrographs.example/')",
    ],
)
def test_no_way_out(call):
    done = guarded(f"import socket\n{call}")
    assert done.returncode != 0
    assert "the network is cut" in done.stderr


def test_loopback_is_open():
    done = guarded(
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), timeout=5)\n"
        "socket.getaddrinfo('localhost', 80)\n"
    )
    assert done.returncode == 0, done.stderr
