"""The eye of the students: pixels become tokens and a ``<cls>`` vector, and findings are read from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from micrographia.errors import StudentError
from micrographia.records import CLASS
from micrographia.students.configuration import VisionConfig
from micrographia.students.findings import Findings
from micrographia.students.image_statistics import (
    EXPOSURE,
    TEXTURE,
    Normalised,
    exposure,
    standardise,
    texture,
)


@dataclass
class VisionOutput(ModelOutput):
    """``tokens`` (B, N, d), grid cells in row order, then exposure, then findings; ``cls`` (B, d).

    ``findings``: logits (B, values) of each label set. ``amounts`` (B, sets with cuts): the amounts that the
    levels are read from, in standard deviations of the training images. ``hidden_states`` holds the tokens
    again, where LLaVA looks for them.
    """

    tokens: Tensor | None = None
    cls: Tensor | None = None
    findings: dict[str, Tensor] | None = None
    amounts: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class LabelledOutput(ModelOutput):
    """``loss``, a scalar where labels were given; ``logits``, one (B, values) tensor for each label set."""

    loss: Tensor | None = None
    logits: dict[str, Tensor] | None = None


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


def _statistics(pixel_values: Tensor) -> Tensor:
    return torch.cat([exposure(pixel_values), texture(pixel_values)], dim=1)


def _turned(pixel_values: Tensor) -> list[Tensor]:
    """Four views in which every direction has its opposites, so that none is usual."""
    mirrored = pixel_values.flip(3)
    return [view for image in (pixel_values, mirrored) for view in (image, image.rot90(dims=(2, 3)))]


class VisionPreTrainedModel(PreTrainedModel):
    """What both vision models share with ``transformers``."""

    config_class = VisionConfig
    config: VisionConfig
    main_input_name = "pixel_values"
    _supports_sdpa = True
    # Some statistics differ over the images by less than bfloat16 tells apart.
    _keep_in_fp32_modules_strict = ("usual_exposure", "usual_texture")

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
        self.usual_exposure, self.usual_texture = Normalised(EXPOSURE), Normalised(TEXTURE)
        self.texture = nn.Sequential(nn.Linear(TEXTURE, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.exposure = nn.Sequential(
            nn.Linear(EXPOSURE + TEXTURE, 2 * d), nn.GELU(), nn.Linear(2 * d, d), nn.LayerNorm(d)
        )
        self.findings = Findings(d, config.labels, config.cuts or {}) if config.labels else None
        self.post_init()

    @torch.no_grad()
    def settle(self, batches: Iterable[Tensor], amounts: Tensor | None = None) -> None:
        """Get used to the training images (each batch as in ``forward``), turned and mirrored as well, and,
        where they are known, to the ``amounts`` (n, sets with cuts; NaN is unknown) in them."""
        seen = [torch.stack([_statistics(view) for view in _turned(batch)]) for batch in batches]
        light, surface = torch.cat(seen, dim=1).flatten(0, 1).tensor_split([EXPOSURE], dim=1)
        self.usual_exposure.settle(light)
        self.usual_texture.settle(surface)
        if amounts is not None and self.findings is not None and self.findings.amounts is not None:
            statistics = torch.cat([self.usual_exposure(light), self.usual_texture(surface)], dim=1)
            self.findings.amounts.settle(statistics, amounts.repeat(len(seen[0]), 1))

    def forward(self, pixel_values: Tensor, **_: Any) -> VisionOutput:
        """Encode ``pixel_values`` (B, channels, image_size, image_size), in [-1, 1].

        They come in float32 whatever the weights are in: the statistics are worked out before any rounding.
        Raises ``StudentError`` where the images have another shape.
        """
        self._check(pixel_values)
        dtype = self.norm.weight.dtype
        light = self.usual_exposure(exposure(pixel_values)).to(dtype)
        surface = self.usual_texture(texture(pixel_values)).to(dtype)
        statistics = torch.cat([light, surface], dim=1)
        x = standardise(pixel_values)[0].to(dtype)
        x = x.contiguous(memory_format=torch.channels_last)  # quicker to convolve
        x = self.embedding(x).permute(0, 2, 3, 1) + self.rows + self.columns
        x = self.local(x).flatten(1, 2)
        cls = self.cls + x.mean(1, keepdim=True) + self.texture(surface)[:, None]
        x = self.norm(self.layers(torch.cat([cls, x], dim=1)))
        cls, grid, shown = x[:, 0], x[:, 1:], self.exposure(statistics)
        if self.findings is None:
            tokens = torch.cat([grid, shown[:, None]], dim=1)
            return VisionOutput(tokens=tokens, cls=cls, hidden_states=(tokens,))
        findings, amounts, told = self.findings(cls, grid.mean(1), shown, statistics)
        tokens = torch.cat([grid, shown[:, None], told], dim=1)
        return VisionOutput(tokens, cls, findings, amounts, hidden_states=(tokens,))

    def _check(self, pixel_values: Tensor) -> None:
        channels, size = self.config.channels, self.config.image_size
        if pixel_values.shape[1:] != (channels, size, size):
            raise StudentError(
                f"pixel_values have shape {tuple(pixel_values.shape)}, "
                f"the encoder takes (B, {channels}, {size}, {size})",
                "prepare images with the student's own processor",
            )


def as_taken(vision: PreTrainedModel, pixel_values: Tensor) -> Tensor:
    """Pixels in the precision that an eye takes: ours in any, some of the hub's only in their own."""
    return pixel_values if isinstance(vision, VisionEncoder) else pixel_values.to(vision.dtype)


class LabelledVision(VisionPreTrainedModel):
    """A vision encoder whose findings are trained: the labels-first stage of tuning."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__(config)
        if not config.labels:
            raise StudentError("config.labels is empty", "name at least one label set, such as 'class'")
        self.encoder = VisionEncoder(config)
        self.post_init()

    def forward(
        self, pixel_values: Tensor, labels: Tensor | None = None, amounts: Tensor | None = None
    ) -> LabelledOutput:
        """Logits of every set, and where ``labels`` (B, sets; -100 is unknown) are given, the loss.

        It is the cross-entropy of the class, the mean of those of the other sets without cuts, and the Huber
        loss of ``amounts`` (B, sets with cuts; NaN is unknown), which stand for the labels of their sets.
        """
        seen = self.encoder(pixel_values)
        loss = None if labels is None else self._loss(seen, labels, amounts)
        return LabelledOutput(loss=loss, logits=seen.findings)

    def _loss(self, seen: VisionOutput, labels: Tensor, amounts: Tensor | None) -> Tensor:
        findings: dict[str, Tensor] = seen.findings or {}
        known = {
            name: F.cross_entropy(logits, column, label_smoothing=self.config.label_smoothing)
            for (name, logits), column in zip(findings.items(), labels.unbind(1), strict=True)
            if name not in (self.config.cuts or {}) and (column >= 0).any()
        }
        terms = [known.pop(CLASS)] if CLASS in known else []
        if known:
            terms.append(torch.stack([*known.values()]).mean())
        if amounts is not None and seen.amounts is not None:
            told = ~amounts.isnan()
            if told.any():
                terms.append(F.huber_loss(seen.amounts[told], amounts[told], delta=0.1) / 0.1)
        if not terms:  # zero, on the right device and with a gradient
            return 0 * torch.stack([logits.sum() for logits in findings.values()]).sum()
        return torch.stack(terms).sum()
