"""The eye of the students: pixels become tokens and a ``<cls>`` vector, and labels are read from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from micrographia.errors import StudentError

FLAT = 1 / 255
"""Half a grey level of an 8-bit image in [-1, 1]: a standard deviation below it is no contrast at all."""

CLASS = "class"
"""The label set that is read from ``<cls>`` alone, so that it cannot depend on brightness or contrast."""


class VisionConfig(PreTrainedConfig):
    """What shapes a vision encoder, and the label sets that a ``LabelledVision`` reads.

    ``kind`` says how a square of ``patch_size`` pixels becomes a grid cell: ``"convolutional"`` by 3x3
    convolutions that see beyond it, ``"paper"`` by one linear map of its pixels, as published.
    ``key_size`` is the width of query, key and value in each head; ``window`` the side, in grid cells, of
    the square within which the local layers attend. ``labels`` maps each label set to its values; the
    sets are kept in alphabetical order, which is the column order of every tensor of labels.
    """

    model_type = "micrographia_vision"

    kind: str = "convolutional"
    image_size: int = 128
    channels: int = 1
    patch_size: int = 16
    hidden_size: int = 96
    heads: int = 4
    key_size: int = 24
    window: int = 4
    local_layers: int = 1
    global_layers: int = 2
    dropout: float | int = 0.0
    label_smoothing: float | int = 0.1
    labels: dict[str, list[str]] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self.labels = dict(sorted((self.labels or {}).items()))
        super().__post_init__(**kwargs)
        if self.kind not in ("convolutional", "paper"):
            raise StudentError(f"vision kind is {self.kind!r}", "use 'convolutional' or 'paper'")
        if self.image_size % (self.patch_size * self.window):
            raise StudentError(
                f"image_size {self.image_size} does not divide into patches of {self.patch_size} px "
                f"and windows of {self.window} cells",
                "choose an image_size that does",
            )

    @classmethod
    def default(cls, **changes: Any) -> VisionConfig:
        """The convolutional encoder at 128 px."""
        return cls(**changes)

    @classmethod
    def paper(cls, **changes: Any) -> VisionConfig:
        """MAEMI's encoder (its appendix A.5 and A.8): 224 px, patch 32, d 64, 4 heads, key/value 32."""
        published = {
            "kind": "paper",
            "image_size": 224,
            "channels": 3,
            "patch_size": 32,
            "hidden_size": 64,
            "heads": 4,
            "key_size": 32,
            "window": 7,  # the whole 7x7 grid: the local phase is all patches, without <cls>
            "local_layers": 2,
            "global_layers": 2,
        }
        return cls(**{**published, **changes})

    @property
    def tokens(self) -> int:
        """How many tokens an image becomes, the exposure token included."""
        return (self.image_size // self.patch_size) ** 2 + 1


@dataclass
class VisionOutput(ModelOutput):
    """``tokens`` (B, N, d), grid cells in row order and the exposure token last; ``cls`` (B, d)."""

    tokens: Tensor | None = None
    cls: Tensor | None = None


@dataclass
class LabelledOutput(ModelOutput):
    """``loss``, a scalar where labels were given; ``logits``, one (B, values) tensor for each label set."""

    loss: Tensor | None = None
    logits: dict[str, Tensor] | None = None


def standardise(pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    """Each image with zero mean and unit standard deviation over all its pixels and channels.

    Returns the images and, (B, 2), what was removed: mean and log standard deviation. The deviation is
    held at ``FLAT`` from below, so that a flat image becomes zeros and not amplified noise; above it the
    result is exactly the same for ``a * x + b``, a > 0.
    """
    std, mean = torch.std_mean(pixel_values, dim=(1, 2, 3), keepdim=True, correction=0)
    std = std.clamp(min=FLAT)
    return (pixel_values - mean) / std, torch.cat([mean, std.log()], dim=1).flatten(1)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani 2017, arXiv:1706.03762); (..., N, d) to the same shape."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        inner = config.heads * config.key_size
        self.heads = config.heads
        self.dropout = config.dropout
        self.project_in = nn.Linear(config.hidden_size, 3 * inner)
        self.project_out = nn.Linear(inner, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the N tokens of each sequence."""
        query, key, value = self.project_in(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.project_out(mixed.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """A pre-norm transformer layer; (B, N, d) to the same shape."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.norm_attention = nn.LayerNorm(size)
        self.attention = Attention(config)
        self.norm_feed_forward = nn.LayerNorm(size)
        self.feed_forward = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Attend, then transform each token."""
        x = x + self.dropout(self.attention(self.norm_attention(x)))
        return x + self.dropout(self.feed_forward(self.norm_feed_forward(x)))


class WindowLayer(Layer):
    """A layer that attends within square windows of a grid (Liu 2021, arXiv:2103.14030, unshifted)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        self.window = config.window

    def forward(self, x: Tensor) -> Tensor:
        """(B, rows, columns, d) to the same shape."""
        w, (batch, rows, columns, size) = self.window, x.shape
        x = x.view(batch, rows // w, w, columns // w, w, size).transpose(2, 3)
        x = super().forward(x.reshape(-1, w * w, size))
        x = x.view(batch, rows // w, columns // w, w, w, size).transpose(2, 3)
        return x.reshape(batch, rows, columns, size)


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, GELU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.GELU()
    )


def embedding(config: VisionConfig) -> nn.Module:
    """Pixels to the first grid: (B, channels, H, W) to (B, d, rows, columns)."""
    d = config.hidden_size
    if config.kind == "paper":
        return nn.Conv2d(config.channels, d, config.patch_size, config.patch_size)
    return nn.Sequential(
        convolution(config.channels, d // 4, stride=2),
        convolution(d // 4, d // 2, stride=2),
        convolution(d // 2, d // 2),
        convolution(d // 2, d, stride=2),
        convolution(d, d, stride=2),
    )


class VisionPreTrainedModel(PreTrainedModel):
    """What both vision models share with ``transformers``."""

    config_class = VisionConfig
    config: VisionConfig
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)
        if isinstance(module, VisionEncoder):
            for parameter in (module.cls, module.rows, module.columns):
                init.normal_(parameter, std=0.02)


class VisionEncoder(VisionPreTrainedModel):
    """Standardise, embed, attend locally, then globally together with ``<cls>``."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        d, grid = config.hidden_size, config.image_size // config.patch_size
        self.embedding = embedding(config)
        self.local = nn.Sequential(*(WindowLayer(config) for _ in range(config.local_layers)))
        self.rows = nn.Parameter(torch.empty(grid, 1, d))
        self.columns = nn.Parameter(torch.empty(1, grid, d))
        self.cls = nn.Parameter(torch.empty(1, 1, d))
        self.layers = nn.Sequential(*(Layer(config) for _ in range(config.global_layers)))
        self.norm = nn.LayerNorm(d)
        self.exposure = nn.Sequential(nn.Linear(2, d), nn.GELU(), nn.Linear(d, d), nn.LayerNorm(d))
        self.post_init()

    def forward(self, pixel_values: Tensor) -> VisionOutput:
        """Encode ``pixel_values`` (B, channels, image_size, image_size), in [-1, 1].

        Raises ``StudentError`` where the images have another shape.
        """
        self._check(pixel_values)
        x, removed = standardise(pixel_values)
        x = self.embedding(x).permute(0, 2, 3, 1) + self.rows + self.columns
        x = self.local(x).flatten(1, 2)
        x = self.norm(self.layers(torch.cat([self.cls + x.mean(1, keepdim=True), x], dim=1)))
        tokens = torch.cat([x[:, 1:], self.exposure(removed)[:, None]], dim=1)
        return VisionOutput(tokens=tokens, cls=x[:, 0])

    def _check(self, pixel_values: Tensor) -> None:
        channels, size = self.config.channels, self.config.image_size
        if pixel_values.shape[1:] != (channels, size, size):
            raise StudentError(
                f"pixel_values have shape {tuple(pixel_values.shape)}, "
                f"the encoder takes (B, {channels}, {size}, {size})",
                "prepare images with the student's own processor",
            )


class LabelledVision(VisionPreTrainedModel):
    """A vision encoder with one linear head for each label set: the labels-first stage of tuning.

    The ``"class"`` set is read from ``<cls>``; every other set (facts of the image, such as its contrast)
    from ``<cls>``, the mean grid token and the exposure token.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        if not config.labels:
            raise StudentError("config.labels is empty", "name at least one label set, such as 'class'")
        self.encoder = VisionEncoder(config)
        d = config.hidden_size
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(d if name == CLASS else 3 * d, len(values))
                for name, values in config.labels.items()
            }
        )
        self.post_init()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> LabelledOutput:
        """Logits of every set, and where ``labels`` (B, sets; -100 is unknown) are given, their loss.

        The loss is the mean over sets of the cross-entropy over the known labels of each set.
        """
        seen = self.encoder(pixel_values)
        facts = torch.cat([seen.cls, seen.tokens[:, :-1].mean(1), seen.tokens[:, -1]], dim=1)
        logits = {name: head(seen.cls if name == CLASS else facts) for name, head in self.heads.items()}
        return LabelledOutput(loss=None if labels is None else self._loss(logits, labels), logits=logits)

    def _loss(self, logits: dict[str, Tensor], labels: Tensor) -> Tensor:
        known = [
            F.cross_entropy(values, column, label_smoothing=self.config.label_smoothing)
            for values, column in zip(logits.values(), labels.unbind(1), strict=True)
            if (column >= 0).any()
        ]
        return torch.stack(known).mean() if known else 0.0 * torch.cat([*logits.values()], dim=1).sum()
