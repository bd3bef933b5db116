"""One student for all tests of the room."""

import pytest

from micrographia.assistant import Assistant

from .tiny import write_student


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="package")
def assistant(folder):
    return Assistant.load(folder)
