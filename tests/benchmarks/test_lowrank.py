"""What the benchmarks of low rank measure by, at small width."""

import torch

from benchmarks import activation_memory, gpu_lowrank
from micrographia.adapt.int8 import Int8Linear


def test_every_method_runs_with_checkpointing_and_without():
    made = gpu_lowrank.figures("tiny", batch=1, length=8, steps=3)
    for name in gpu_lowrank.METHODS:
        for after in ("", "_checkpointed"):
            speed = made[f"tokens_per_second_{name}{after}"]
            told = speed if name == "peft_lora_8bit" and isinstance(speed, str) else None
            assert told == "bitsandbytes or a GPU is missing" or speed > 0
    assert made["tokens_vs_peft"] == made["tokens_per_second_ours"] / made["tokens_per_second_peft_lora"]
    if not torch.cuda.is_available():
        assert made["peak_vs_peft"] is None  # torch counts no peak there


def test_kept_bytes_are_those_of_what_is_saved_and_no_weight():
    torch.manual_seed(0)
    frozen = torch.nn.Linear(8, 4, bias=False).requires_grad_(False)

    class Squared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = frozen

        def forward(self, input_ids, labels):
            class Told:
                loss = self.layer(input_ids).square().sum()

            return Told

    x = torch.randn(3, 8, requires_grad=True)
    assert activation_memory.kept(Squared(), x) == 3 * 4 * 4  # what is squared


def test_weights_are_counted_with_their_scales():
    layer = Int8Linear.from_linear(torch.nn.Linear(512, 8))
    assert activation_memory.weights_ratio(torch.nn.Sequential(layer)) == (512 * 8 + 8 * 4) / (2 * 512 * 8)
