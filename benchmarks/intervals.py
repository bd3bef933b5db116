"""How often the 95 % interval of a proportion holds the truth, where samples come in groups that are alike.

    python -m benchmarks.intervals [--json] [--studies 400]

Studies are simulated: groups of 2 to 15 images, the share of right answers in each drawn so that answers of
one group are correlated. Beside ours stands the interval that takes all images for independent (Wald 1943).
Keys: ``ours_P_C_G`` and ``independent_P_C_G`` for the true share, the correlation and the number of groups.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks import command
from micrographia.evaluate import statistics

SHARES, CORRELATIONS, GROUPS = (0.80, 0.97), (0.0, 0.2), (5, 20, 30, 150)
SMALLEST, LARGEST = 2, 15
"""Images of a group."""


def study(share: float, correlation: float, groups: int, generator: np.random.Generator) -> tuple[bool, bool]:
    """Whether the two intervals of one simulated study hold the truth."""
    of_group = np.full(groups, share)
    if correlation:
        spread = (1 - correlation) / correlation
        of_group = generator.beta(share * spread, (1 - share) * spread, groups)
    sizes = generator.integers(SMALLEST, LARGEST + 1, groups)
    right = generator.random(sizes.sum()) < np.repeat(of_group, sizes)
    ours = statistics.proportion(right, [str(name) for name in np.repeat(np.arange(groups), sizes)])
    mean = right.mean()
    half = 1.96 * np.sqrt(mean * (1 - mean) / len(right))
    return bool(ours.low <= share <= ours.high), bool(abs(mean - share) <= half)


def figures(studies: int) -> dict[str, float]:
    """Shares of the studies whose interval holds the truth."""
    generator = np.random.default_rng(2)
    made: dict[str, float] = {"studies": studies}
    for share in SHARES:
        for correlation in CORRELATIONS:
            for groups in GROUPS:
                print(f"share {share}, correlation {correlation}, {groups} groups", file=sys.stderr)
                held = np.mean([study(share, correlation, groups, generator) for _ in range(studies)], axis=0)
                case = f"{share:.2f}_{correlation:.1f}_{groups}"
                made |= {f"ours_{case}": round(held[0], 3), f"independent_{case}": round(held[1], 3)}
    return made


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--studies", type=int, default=400, help="studies of each case")
    options = parser.parse_args()
    made = figures(options.studies)
    command.show(made, options.json)


if __name__ == "__main__":
    main()
