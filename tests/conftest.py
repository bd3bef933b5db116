"""What the tests of several rooms share."""

import os
from pathlib import Path

import pytest
import torch

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Small tensors on few cores: one thread is quicker than two that wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real micrographs: the folder $MICROGRAPHIA_REAL_DATA, or shared/data beside the checkout."""
    folder = Path(os.environ.get("MICROGRAPHIA_REAL_DATA", CHECKOUT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real micrographs: {folder} is not a folder (set MICROGRAPHIA_REAL_DATA)")
    return folder
