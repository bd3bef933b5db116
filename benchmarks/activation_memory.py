"""What autograd keeps for the backward pass, in exact bytes, with DyQLoRA-FA and with PEFT's LoRA.

    python -m benchmarks.activation_memory [--json] [--no-large]

Random Llama models in bfloat16 on the processor, adapters of rank 16 on all linear layers, no checkpointing:
"tiny" (4 layers of width 512, batch 2 x 512) and "1b" (the shape of Llama-3.2-1B, batch 1 x 128). Kept bytes
are those of every distinct storage that autograd saves in the forward pass, the model's own weights left out.

``kept_vs_peft_default``: ours over PEFT's LoRA as it comes (adapters in float32), dropout 0.05.
``kept_vs_peft_bf16``, ``kept_vs_peft_bf16_no_dropout``: over LoRA with bfloat16 adapters, dropout 0.05 and 0.
``with_logits_vs_...``: the same with the model's own loss, as PEFT's has it, where all logits are kept: what
the adapters alone save.
``weights_vs_bf16``: bytes of the target layers' weights, scales among them, over those in bfloat16.
``loss_difference_bf16``, ``_fp32``: greatest difference of the loss over ten steps from an unfused reference,
in which every product is a plain operation of torch on dequantised weights.
``step_time_vs_peft_bf16``: a whole step, ours over LoRA with bfloat16 adapters, least of several of each; and
``step_time_vs_peft_fp32`` the same with everything in float32, for processors that lack bfloat16 units.
``int8_error``: relative error of a layer's outputs, by 8-bit weights, against bfloat16 ones.
The three ratios of kept bytes stand for "tiny"; those of "1b" have "1b_" before their names.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import command
from micrographia.adapt.dyqlora_fa import DyQLoRAFAConfig, DyQLoRAFALinear
from micrographia.adapt.int8 import Int8Linear, dequantize
from micrographia.adapt.lean_loss import without_logits
from micrographia.tune import backward

RANK, DROPOUT = 16, 0.05
SHAPES: dict[str, tuple[dict[str, int], tuple[int, int]]] = {
    "tiny": (
        {
            "vocab_size": 1024,
            "hidden_size": 512,
            "intermediate_size": 1536,
            "num_hidden_layers": 4,
            "num_attention_heads": 8,
            "num_key_value_heads": 8,
        },
        (2, 512),
    ),
    "1b": (
        {
            "vocab_size": 128256,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
        },
        (1, 128),
    ),
}
STEPS = 10


def llama(shape: str, dtype: torch.dtype) -> LlamaForCausalLM:
    """Random weights, the same in every call."""
    torch.manual_seed(0)
    with torch.device("cpu"):
        return LlamaForCausalLM(LlamaConfig(**SHAPES[shape][0], tie_word_embeddings=True)).to(dtype)


def ours(model: nn.Module, dropout: float) -> PeftModel:
    """With DyQLoRA-FA at rank 16, adapters in the model's type; and with the loss that it is trained with."""
    adapted = with_logits(model, dropout)
    without_logits(adapted.get_base_model())
    return adapted


def with_logits(model: nn.Module, dropout: float) -> PeftModel:
    """The same with the model's own loss, so that the adapters alone are seen."""
    config = DyQLoRAFAConfig(r_min=4, r_max=RANK, dropout=dropout)
    return get_peft_model(model, config, autocast_adapter_dtype=False)


def lora(model: nn.Module, dropout: float, default: bool = False) -> PeftModel:
    """With PEFT's LoRA; ``default``: adapters cast to float32, as PEFT does unless told otherwise."""
    config = LoraConfig(r=RANK, lora_alpha=1, lora_dropout=dropout, target_modules="all-linear")
    return get_peft_model(model, config, autocast_adapter_dtype=default)


def words(shape: str) -> Tensor:
    """A batch of random token ids."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(SHAPES[shape][0]["vocab_size"], SHAPES[shape][1], generator=generator)


def kept(model: nn.Module, ids: Tensor) -> int:
    """Bytes that autograd keeps of one forward pass, every storage once, those of the model left out."""
    return backward.kept_bytes(model, {"input_ids": ids, "labels": ids})


def kept_bytes(shape: str) -> dict[str, int]:
    """Of ours and of both forms of PEFT's LoRA."""
    makers: dict[str, Callable[[nn.Module], PeftModel]] = {
        "ours": lambda model: ours(model, DROPOUT),
        "ours_no_dropout": lambda model: ours(model, 0.0),
        "ours_with_logits": lambda model: with_logits(model, DROPOUT),
        "ours_with_logits_no_dropout": lambda model: with_logits(model, 0.0),
        "peft_default": lambda model: lora(model, DROPOUT, default=True),
        "peft_bf16": lambda model: lora(model, DROPOUT),
        "peft_bf16_no_dropout": lambda model: lora(model, 0.0),
    }
    return {name: kept(make(llama(shape, torch.bfloat16)), words(shape)) for name, make in makers.items()}


def weights_ratio(model: nn.Module) -> float:
    """Bytes of the 8-bit layers' weights and scales over those of the same weights in bfloat16."""
    layers = [module for module in model.modules() if isinstance(module, Int8Linear)]
    now = sum(tensor.nbytes for layer in layers for tensor in (layer.weight, layer.scale))
    return now / sum(2 * layer.weight.numel() for layer in layers)


class Unfused(nn.Module):
    """The same layer by plain operations: dequantised weights, and autograd keeps what it likes."""

    def __init__(self, layer: DyQLoRAFALinear, dtype: torch.dtype) -> None:
        super().__init__()
        base = layer.base_layer
        assert isinstance(base, Int8Linear)
        self.weight = dequantize(base.weight, base.scale, dtype)
        self.down = layer.dyqlora_A["default"]
        self.up = nn.Parameter(torch.zeros(RANK, base.out_features, dtype=dtype))
        self.rank = RANK

    def forward(self, x: Tensor) -> Tensor:
        """W x + B A x / b."""
        thin = F.linear(x, self.down[: self.rank]) @ self.up[: self.rank]
        return F.linear(x, self.weight) + thin / self.rank


def unfused(model: PeftModel, dtype: torch.dtype) -> nn.Module:
    """A copy of the model in which every adapted layer is an ``Unfused`` one."""
    plain: nn.Module = copy.deepcopy(model.get_base_model())
    for name, module in list(plain.named_modules()):
        if isinstance(module, DyQLoRAFALinear):
            parent, _, last = name.rpartition(".")
            setattr(plain.get_submodule(parent), last, Unfused(module, dtype))
    return plain


def loss_difference(dtype: torch.dtype) -> float:
    """Greatest difference of the loss from the unfused reference over ten steps at drawn ranks, by SGD."""
    model = with_logits(llama("tiny", dtype), 0.0)
    model.peft_config["default"].normalise_gradients = False
    reference, ids = unfused(model, dtype), words("tiny")[:, :64]
    worst = 0.0
    optimizers = [
        torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=1.0) for m in (model, reference)
    ]
    for step in range(STEPS):
        rank = model.draw_rank(step)
        for module in reference.modules():
            if isinstance(module, Unfused):
                module.rank = rank
        losses = []
        for one, optimizer in zip((model, reference), optimizers, strict=True):
            optimizer.zero_grad()
            logits = one(input_ids=ids).logits[:, :-1].double()  # a loss in float32 has steps of 5e-7
            loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(float(loss))
        worst = max(worst, abs(losses[0] - losses[1]))
    return worst


def step_seconds(model: PeftModel, ids: Tensor, repeats: int) -> float:
    """The least time of a whole step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    model.train()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return min(times)


def step_ratio(dtype: torch.dtype, repeats: int) -> float:
    """Ours over PEFT's LoRA with adapters in the model's own type, both with dropout."""
    ids = words("tiny")
    mine = step_seconds(ours(llama("tiny", dtype), DROPOUT), ids, repeats)
    return mine / step_seconds(lora(llama("tiny", dtype), DROPOUT), ids, repeats)


def int8_error() -> float:
    """Root mean square of what 8-bit weights change in a layer's outputs, over that of the outputs."""
    torch.manual_seed(0)
    layer = nn.Linear(2048, 2048, bias=False)
    x = torch.randn(256, 2048)
    exact = layer(x)
    return float(
        (Int8Linear.from_linear(layer)(x) - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    )


def ratios(shape: str) -> dict[str, float]:
    """Kept bytes of ours over those of PEFT's LoRA."""
    sizes = kept_bytes(shape)
    return {
        "kept_vs_peft_default": sizes["ours"] / sizes["peft_default"],
        "kept_vs_peft_bf16": sizes["ours"] / sizes["peft_bf16"],
        "kept_vs_peft_bf16_no_dropout": sizes["ours_no_dropout"] / sizes["peft_bf16_no_dropout"],
        "with_logits_vs_peft_default": sizes["ours_with_logits"] / sizes["peft_default"],
        "with_logits_vs_peft_bf16": sizes["ours_with_logits"] / sizes["peft_bf16"],
        "with_logits_vs_peft_bf16_no_dropout": sizes["ours_with_logits_no_dropout"]
        / sizes["peft_bf16_no_dropout"],
        **{f"kept_mib_{name}": size / 2**20 for name, size in sizes.items()},
    }


def measure(large: bool) -> dict[str, Any]:
    """Every figure."""
    figures: dict[str, Any] = ratios("tiny")
    if large:
        figures |= {f"1b_{name}": value for name, value in ratios("1b").items()}
    return figures | {
        "weights_vs_bf16": weights_ratio(ours(llama("tiny", torch.bfloat16), 0.0)),
        "int8_error": int8_error(),
        "loss_difference_fp32": loss_difference(torch.float32),
        "loss_difference_bf16": loss_difference(torch.bfloat16),
        "step_time_vs_peft_fp32": step_ratio(torch.float32, 5),
        "step_time_vs_peft_bf16": step_ratio(torch.bfloat16, 3),
        "bf16_units": bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()),
    }


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--no-large", dest="large", action="store_false", help="leave the 1B shape out")
    arguments = parser.parse_args()
    command.show(measure(arguments.large), arguments.json)
