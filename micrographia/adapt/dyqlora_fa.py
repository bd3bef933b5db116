"""DyQLoRA-FA: low-rank adapters beside 8-bit weights, A frozen, of a rank that is drawn anew at every step
(MAEMI's paper, "Instruction-Tuning Small-Scale Language-and-Vision Assistant for Electron Micrograph
Analysis", A.1; after LoRA-FA, arXiv:2308.03303, and DyLoRA, arXiv:2210.07558).

    y = W x + (alpha / b) B[:, :b] A[:b] dropout(x)

W is 8-bit and frozen, A (r, in) normal and frozen, B (out, r) begins at zero. It is a tuner of PEFT:
``get_peft_model``, ``PeftModel.from_pretrained``, several adapters, ``disable_adapter`` and
``merge_and_unload`` work.

B is kept as rows of its transpose, in blocks that are trained together: with ranks from 4 to 16 one block of
four rows and twelve of one. The **rule for optimizers** follows from that and holds for any of them: what the
rank of a step leaves out has no gradient at all, and an optimizer leaves a parameter without gradient alone,
with its moments, its count of steps and its weight decay.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING, PeftConfig
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from micrographia.adapt.int8 import Int8Linear
from micrographia.adapt.low_rank import add_low_rank
from micrographia.adapt.ranks import RankDraw
from micrographia.errors import PlanError, StudentError

TYPE = "DYQLORA_FA"
"""``peft_type`` in an adapter's file."""
A, B = "dyqlora_A", "dyqlora_B"


@dataclass
class DyQLoRAFAConfig(PeftConfig):
    """What shapes an adapter. The defaults are MAEMI's: ranks 4 to 16, scale 1 / b, dropout 0.05."""

    target_modules: Any = "all-linear"
    """Names of layers, a regular expression, or "all-linear": every linear layer but the output's."""
    exclude_modules: Any = None
    """Names of layers, or a regular expression, that are left as they are."""
    r_min: int = 4
    r_max: int = 16
    rank_weights: tuple[float, ...] | None = None
    """One for each rank from r_min to r_max, in proportion to how often it is drawn; none: all alike."""
    alpha: float = 1.0
    """What the adapter adds is multiplied by alpha / b."""
    dropout: float = 0.05
    """Probability with which each input of an adapter is left out in training."""
    update: Literal["prefix", "last"] = "prefix"
    """prefix: all columns up to the drawn rank learn; last: only what this rank adds (DyLoRA's "frozen")."""
    normalise_gradients: bool = True
    """Multiply gradients by sqrt(b / r_max), so that all ranks pull alike: with the scale alpha / b, the
    gradient of B grows as 1 / sqrt(b)."""
    quantize: Literal["int8"] | None = "int8"
    """How the weights of the target layers are kept; none: as they are."""
    group_size: int | None = None
    """Inputs that share a scale; none: all of an output channel."""
    seed: int = 0
    """Of A and of the ranks."""
    save_projection: bool = True
    """Whether A is saved with B. If not, it is made again from ``seed``, and refused if it differs."""
    projection_digest: str | None = None
    """sha256 over A, written when it is made."""
    modules_to_save: list[str] | None = None
    """Other modules that are trained whole and saved with the adapter."""
    bias: str = "none"
    peft_type: Any = TYPE

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = TYPE
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)
        if self.rank_weights is not None:
            self.rank_weights = tuple(self.rank_weights)
        if not 0 <= self.dropout < 1:
            raise PlanError(f"dropout is {self.dropout}", "it is a probability below 1")
        self.draw  # noqa: B018  (refuses ranks that make no distribution)

    @property
    def draw(self) -> RankDraw:
        """The distribution of ranks."""
        return RankDraw(self.r_min, self.r_max, self.rank_weights, self.seed)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Rows of each block of B's transpose: what the lowest rank takes, then what each further adds."""
        return tuple(high - low for low, high in itertools.pairwise((0, *self.draw.ranks)))


class DyQLoRAFALinear(nn.Module, BaseTunerLayer):
    """A linear layer with adapters. Only B is known to PEFT as weights: no call of its can unfreeze A."""

    adapter_layer_names = (B,)
    other_param_names = (A, "configs", "ranks")

    base_layer: nn.Linear | Int8Linear
    active_adapters: Any
    set_adapter: Any

    def __init__(
        self, base_layer: nn.Linear | Int8Linear, adapter_name: str, config: DyQLoRAFAConfig, place: str
    ) -> None:
        super().__init__()
        if isinstance(base_layer, nn.Linear) and config.quantize:
            base_layer = Int8Linear.from_linear(base_layer, config.group_size)
        self.base_layer = base_layer
        self.dyqlora_A = BufferDict({}, persistent=config.save_projection)
        self.dyqlora_B: Any = nn.ModuleDict()
        self.configs: dict[str, DyQLoRAFAConfig] = {}
        self.ranks: dict[str, int] = {}
        self.merged_adapters: list[str] = []
        self._unmerged: list[nn.Linear | Int8Linear] = []  # a list, so that it is no submodule
        self._disable_adapters = False
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config, place)

    def update_layer(self, adapter_name: str, config: DyQLoRAFAConfig, place: str) -> None:
        """Add an adapter; ``place`` is the layer's name in the model, which with the seed decides A."""
        base = self.base_layer
        dtype = base.dtype if isinstance(base, Int8Linear) else base.weight.dtype
        down = _normal(config.r_max, base.in_features, f"{config.seed} {place}").to(base.weight.device, dtype)
        self.dyqlora_A[adapter_name] = down
        blocks = [nn.Parameter(down.new_zeros(block, base.out_features)) for block in config.blocks]
        self.dyqlora_B[adapter_name] = nn.ParameterList(blocks)
        self.configs[adapter_name], self.ranks[adapter_name] = config, config.r_max
        self.set_adapter(self.active_adapters)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``x`` (..., in) to (..., out), with the active adapters at their ranks."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return y
        for name in self.active_adapters:
            if name in self.dyqlora_B:
                y = self._add(y, x, name)
        return y

    def _add(self, y: Tensor, x: Tensor, name: str) -> Tensor:
        config, rank = self.configs[name], self.ranks[name]
        return add_low_rank(
            y,
            x.to(y.dtype),
            self.dyqlora_A[name][:rank],
            self._up(name, rank),
            config.alpha / rank,
            config.dropout if self.training else 0.0,
            math.sqrt(rank / config.r_max) if config.normalise_gradients else 1.0,
        )

    def _up(self, name: str, rank: int) -> Tensor:
        """B's transpose up to the rank, (rank, out)."""
        ends = itertools.accumulate(self.configs[name].blocks)
        count = next(k for k, end in enumerate(ends, start=1) if end >= rank)
        blocks = list(self.dyqlora_B[name])[:count]
        if self.configs[name].update == "last":
            blocks[:-1] = [block.detach() for block in blocks[:-1]]
        return torch.cat(blocks)[:rank] if len(blocks) > 1 else blocks[0][:rank]

    def thin(self, name: str, rank: int | None = None) -> tuple[Tensor, Tensor]:
        """A (rank, in) and B (out, rank) of an adapter, as plain LoRA has them."""
        rank = rank or self.ranks[name]
        return self.dyqlora_A[name][:rank], self._up(name, rank).detach().T

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What the adapter adds to the weights (out, in) at its rank, float32."""
        down, up = self.thin(adapter)
        return (self.configs[adapter].alpha / self.ranks[adapter]) * (up.float() @ down.float())

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Put full-precision weights with the adapters' sums in place of the base layer.

        8-bit weights are dequantised and stay so: rounding them again would undo part of what was learned.
        Raises ValueError, as PEFT does, where ``safe_merge`` finds a weight that is no number.
        """
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.dyqlora_B:
                continue
            base = self.base_layer
            merged = base.to_linear() if isinstance(base, Int8Linear) else _twin(base)
            merged.weight.data = (merged.weight.float() + self.get_delta_weight(name)).to(merged.weight.dtype)
            if safe_merge and not bool(merged.weight.isfinite().all()):
                raise ValueError(f"the merged weights of adapter {name} are not all numbers")
            self._unmerged.append(base)
            self.base_layer = merged
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Put back the base layer that was there: nothing is subtracted, so nothing is rounded."""
        if self._unmerged:
            self.base_layer = self._unmerged[0]
        self._unmerged.clear()
        self.merged_adapters.clear()

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:
        """It is LoRA at any rank; ``deploy`` writes it as such without PEFT's detour by singular values."""
        return True


def _twin(linear: nn.Linear) -> nn.Linear:
    """The same layer, whose weight can be replaced without touching the other's."""
    twin = nn.Linear(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
    twin.weight, twin.bias = nn.Parameter(linear.weight.detach(), requires_grad=False), linear.bias
    return twin


def _normal(rank: int, columns: int, key: str) -> Tensor:
    """A of one layer: independent normal values of variance 1 / in, so that h is as large as x."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rank, columns, generator=generator) / math.sqrt(columns)


class DyQLoRAFAModel(BaseTuner):
    """The tuner: puts adapters beside the target layers and keeps them at one rank."""

    prefix = "dyqlora_"
    tuner_layer_cls = DyQLoRAFALinear
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  (PEFT's name; the default is all-linear)

    def __init__(self, model: nn.Module, peft_config: Any, adapter_name: str, **kwargs: Any) -> None:
        # Weights made on the meta device would be the 8-bit ones too; B is small and zero anyway.
        super().__init__(model, peft_config, adapter_name, **{**kwargs, "low_cpu_mem_usage": False})

    def set_rank(self, rank: int | None) -> None:
        """Set the rank of the active adapters in all layers; None is the highest. Raises PlanError."""
        for layer in self._layers():
            for name in set(layer.active_adapters) & set(layer.ranks):
                highest = layer.configs[name].r_max
                if rank is not None and not 1 <= rank <= highest:
                    raise PlanError(f"rank {rank} of adapter {name!r}", f"choose 1 to {highest}")
                layer.ranks[name] = rank or highest

    def draw_rank(self, step: int) -> int:
        """Draw the rank of an optimizer step, the same on every process, and set it."""
        rank = self.peft_config[self.active_adapters[0]].draw.at(step)
        self.set_rank(rank)
        return rank

    def _layers(self) -> list[DyQLoRAFALinear]:
        return [module for module in self.model.modules() if isinstance(module, DyQLoRAFALinear)]

    def _create_and_replace(
        self,
        peft_config: DyQLoRAFAConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: Any,
    ) -> None:
        if isinstance(target, DyQLoRAFALinear):
            target.update_layer(adapter_name, peft_config, current_key)
            return
        if not isinstance(target, (nn.Linear, Int8Linear)):
            raise PlanError(
                f"{current_key} is a {type(target).__name__}", "only linear layers take these adapters"
            )
        layer = DyQLoRAFALinear(target, adapter_name, peft_config, current_key)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _check_new_adapter_config(self, config: DyQLoRAFAConfig) -> None:
        super()._check_new_adapter_config(config)
        kinds = {(c.save_projection, c.quantize, c.group_size) for c in self.peft_config.values()}
        if len(kinds) > 1:
            raise PlanError(
                "save_projection, quantize or group_size differ between the adapters of one model",
                "they say how the layers themselves are kept: give all adapters the same",
            )

    def _post_injection_hook(self, model: nn.Module, config: DyQLoRAFAConfig, adapter_name: str) -> None:
        digest = hashlib.sha256()
        for layer in self._layers():
            if adapter_name in layer.dyqlora_A:
                digest.update(layer.dyqlora_A[adapter_name].float().cpu().numpy().tobytes())
        made = digest.hexdigest()
        if not config.save_projection and config.projection_digest not in (None, made):
            raise StudentError(
                f"A of adapter {adapter_name!r} was not saved and cannot be made again as it was",
                "torch draws other numbers now, or the model is another: use those it was tuned with",
            )
        config.projection_digest = made

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: Any, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        remapped = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        require_matching(model, adapter_name, remapped)
        return remapped


def require_matching(model: nn.Module, adapter_name: str, state_dict: dict[str, Tensor]) -> None:
    """Raises StudentError, with counts, where an adapter's file is not what the model has places for."""
    places = {key for key in model.state_dict() if _is_of(key, adapter_name)}
    given = {key for key in state_dict if f".{A}" in key or f".{B}" in key}
    missing, unknown = places - given, given - places
    if missing or unknown:
        example = min(missing or unknown)
        raise StudentError(
            f"the adapter matches {len(places & given)} of {len(places)} tensors of the model: "
            f"{len(missing)} are missing, {len(unknown)} have no place, among them {example}",
            "it was tuned for another model, or its file is not whole",
        )


def _is_of(key: str, adapter_name: str) -> bool:
    parts = key.split(".")
    return any(part in (A, B) and name == adapter_name for part, name in itertools.pairwise(parts))


# PEFT's own `register_peft_method` takes only names that stand in its enumeration of types. It looks types up
# by their name as a string, which is all that is needed.
PEFT_TYPE_TO_CONFIG_MAPPING[TYPE] = DyQLoRAFAConfig
PEFT_TYPE_TO_TUNER_MAPPING[TYPE] = DyQLoRAFAModel
PEFT_TYPE_TO_PREFIX_MAPPING[TYPE] = DyQLoRAFAModel.prefix
