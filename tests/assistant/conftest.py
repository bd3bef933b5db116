"""One student for all tests of the room, and one thread, which is quicker than two for small tensors."""

import pytest
import torch

from micrographia.assistant import Assistant

from .tiny import write_student


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    return write_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="package")
def assistant(folder):
    return Assistant.load(folder)
