"""What a checkpoint holds: what is trained of a model, no copy of what is frozen, and how far learning came.

Nothing in it depends on how many processes wrote it, so that as many others can go on from it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from micrographia.errors import StudentError
from micrographia.tune.processes import is_first, placed_like, whole

TRAINED = "trained.safetensors"
LEARNING = "learning.safetensors"


def trained(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that are trained, and buffers that are saved with a model: training may move them."""
    saved = model.state_dict(keep_vars=True).keys()
    buffers = {name: tensor for name, tensor in model.named_buffers() if name in saved}
    return buffers | {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}


def write_trained(model: nn.Module, folder: Path) -> None:
    """Into ``folder``, by the first process; all have to call it."""
    tensors = {name: whole(tensor.detach()).cpu().contiguous() for name, tensor in trained(model).items()}
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
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
        places[name].copy_(placed_like(tensor, places[name]))


def write_learning(optimizer: Any, schedule: Any, folder: Path) -> None:
    """Moments and rates, into ``folder``, by the first process; all have to call it."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[int, dict[str, float]] = defaultdict(dict)
    for place, kept in state["state"].items():
        for name, value in kept.items():
            if isinstance(value, Tensor):
                tensors[f"{place}.{name}"] = whole(value).cpu().contiguous()
            else:
                numbers[place][name] = value
    if is_first():
        rest = {"numbers": numbers, "groups": state["param_groups"], "schedule": schedule.state_dict()}
        save_file(tensors, folder / LEARNING, {name: json.dumps(value) for name, value in rest.items()})


def read_learning(optimizer: Any, schedule: Any, folder: Path) -> None:
    """Put back what was written of an optimizer and its schedule over the same parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    with safe_open(folder / LEARNING, "pt") as file:
        rest = {name: json.loads(value) for name, value in file.metadata().items()}
        state = {int(place): dict(numbers) for place, numbers in rest["numbers"].items()}
        for key in file.keys():  # noqa: SIM118  (it is no mapping)
            place, name = key.split(".", 1)
            value = placed_like(file.get_tensor(key), parameters[int(place)])
            state.setdefault(int(place), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})
    schedule.load_state_dict(rest["schedule"])
