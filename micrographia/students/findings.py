"""What the eye finds: a class, amounts with their levels, other labels; each with a token for the words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from micrographia.records import CLASS
from micrographia.students.image_statistics import EXPOSURE, TEXTURE

SOFTNESS = 0.1
"""How near to a cut, in standard deviations of the amount, a level begins to be in doubt."""

RIDGE = 3.0
"""Penalty of the ridge regression: that of three images."""


class Amounts(nn.Module):
    """Numbers, such as the contrast in per cent: a line through the statistics of the whole image, and a
    correction from what the layers saw."""

    def __init__(self, seen: int, statistics: int, count: int) -> None:
        super().__init__()
        self.line = nn.Linear(statistics, count)
        self.correction = nn.Sequential(nn.Linear(seen, seen), nn.GELU(), nn.Linear(seen, count))

    @torch.no_grad()
    def settle(self, statistics: Tensor, amounts: Tensor) -> None:
        """Lay the line by ridge regression (Hoerl 1970, doi:10.1080/00401706.1970.10488634) through images
        of known ``statistics`` (n, S) and ``amounts`` (n, count; NaN is unknown); training goes on there."""
        for row, amount in enumerate(amounts.T):
            known = ~amount.isnan()
            inputs = F.pad(statistics[known], (0, 1), value=1.0)
            penalty = RIDGE * torch.eye(inputs.shape[1])
            solution = torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ amount[known])
            self.line.weight[row], self.line.bias[row] = solution[:-1], solution[-1]
        for parameter in self.correction[-1].parameters():
            parameter.zero_()

    def forward(self, seen: Tensor, statistics: Tensor) -> Tensor:
        """(B, count)."""
        return self.line(statistics) + self.correction(seen)


class Findings(nn.Module):
    """What the eye finds, and its words for it: every label set becomes a token for the text stack to read.

    The class is read from ``<cls>`` alone, so that it cannot depend on brightness or contrast. The levels of
    an amount lie between the set's ``cuts``, so that a few hundred images place a level as exactly as they
    place the number. Other sets are read from all there is.
    """

    def __init__(self, d: int, labels: dict[str, list[str]], cuts: dict[str, list[float]]) -> None:
        super().__init__()
        self.labels, self.cuts = labels, cuts
        seen, statistics = 3 * d, EXPOSURE + TEXTURE
        self.amounts = Amounts(seen, statistics, len(self.cuts)) if self.cuts else None
        self.heads = nn.ModuleDict(
            {
                name: nn.Linear(d if name == CLASS else seen + statistics, len(values))
                for name, values in self.labels.items()
                if name not in self.cuts
            }
        )
        self.words = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(len(values), d)) for name, values in self.labels.items()}
        )

    def forward(
        self, cls: Tensor, grid: Tensor, shown: Tensor, statistics: Tensor
    ) -> tuple[dict[str, Tensor], Tensor | None, Tensor]:
        """Logits of each set, amounts, and tokens (B, sets, d).

        ``cls``, the mean ``grid`` token and the exposure token ``shown`` are (B, d); ``statistics`` (B, S).
        """
        seen = torch.cat([cls, grid, shown], dim=1)
        amounts = None if self.amounts is None else self.amounts(seen, statistics)
        logits = {}
        for name in self.labels:
            if amounts is not None and name in self.cuts:
                logits[name] = levels(amounts[:, list(self.cuts).index(name)], self.cuts[name])
            else:
                known = cls if name == CLASS else torch.cat([seen, statistics], dim=1)
                logits[name] = self.heads[name](known)
        told = [logits[name].softmax(1) @ self.words[name] for name in self.labels]
        return logits, amounts, torch.stack(told, dim=1)


def levels(amount: Tensor, cuts: list[float]) -> Tensor:
    """Log-probability (B, levels) of the levels between ``cuts`` for amounts (B,): a cumulative logit
    (McCullagh 1980, doi:10.1111/j.2517-6161.1980.tb01109.x) whose cuts are known."""
    above = torch.sigmoid((amount[:, None] - amount.new_tensor(cuts)) / SOFTNESS)
    edges = F.pad(above, (1, 0), value=1.0), F.pad(above, (0, 1))
    return (edges[0] - edges[1]).clamp(min=1e-6).log()
