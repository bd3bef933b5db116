"""What two processes do in test_distributed: ``accelerate launch -m tests.tune.launched FOLDER``."""

import json
import sys
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from micrographia.tune.fit import Stage, fit
from micrographia.tune.language import Passage, PassageBatches
from micrographia.tune.order import Order, Plain
from micrographia.tune.precision import Precision
from micrographia.tune.processes import is_first
from tests.tune.small import Counting

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
PASSAGES = [Passage(tuple(range(3 + i, 12 + 3 * i)), given=1 + i % 3) for i in range(18)]
"""No two are as long as each other: the processes' shares hold different numbers of tokens."""
TRAINED, STEPS = 16, 8


class Killed(BaseException):
    """Not an Exception, so that nothing in between can handle it."""


class Watched(TrainerCallback):
    """Remembers how many weights are cut up, and kills at a step."""

    def __init__(self, kill_at=None):
        self.kill_at = kill_at
        self.sharded = 0

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        self.sharded = sum(isinstance(parameter, DTensor) for parameter in model.parameters())
        if state.global_step == self.kill_at:
            raise Killed


def learn(folder, watched):
    """The curve of eight steps on four passages each, by however many processes; None where it was killed."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=96, num_key_value_heads=2, **SIZES))
    order, plain = Order(range(TRAINED), 2, seed=3), Plain(range(TRAINED, len(PASSAGES)))
    common = (PassageBatches(PASSAGES), Path(folder), Precision(False, "tests"), Counting(), [watched])
    try:
        return fit(Stage("learning", TRAINED * 2 // STEPS, 0.02), model, order, plain, *common)
    except Killed:
        return None


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    through, killed = Watched(), Watched(kill_at=6)
    curves = {
        "through": learn(folder / "through", through),
        "killed": learn(folder / "killed by two", killed),
        "resumed": learn(folder / "killed by one", Watched()),
    }
    if is_first():
        (folder / "told.json").write_text(json.dumps({**curves, "sharded": through.sharded}))
