"""What a checkpoint holds of a model: what is trained, and no copy of what is frozen."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from micrographia.errors import StudentError

TRAINED = "trained.safetensors"


def trained(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that are trained, and buffers that are saved with a model: training may move them."""
    saved = model.state_dict(keep_vars=True).keys()
    buffers = {name: tensor for name, tensor in model.named_buffers() if name in saved}
    return buffers | {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}


def write_trained(model: nn.Module, folder: Path) -> None:
    """Into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in trained(model).items()}
    save_file(tensors, folder / TRAINED)


@torch.no_grad()
def read_trained(model: nn.Module, folder: Path) -> None:
    """Put back what was written of the same model. Raises StudentError, with counts, for another's."""
    given, places = load_file(folder / TRAINED), trained(model)
    fitting = {
        name for name, tensor in given.items() if name in places and places[name].shape == tensor.shape
    }
    if len(fitting) < max(len(given), len(places)):
        raise StudentError(
            f"{folder / TRAINED} has {len(given)} tensors, of which {len(fitting)} match the {len(places)} "
            "trained ones",
            "it is of another model: remove the folder, and tuning begins anew",
        )
    for name, tensor in given.items():
        places[name].copy_(tensor)
