"""How fast micrographs are drawn, a category at a time, on one core.

    python -m benchmarks.phantoms [--json] [--images 24] [--side 512]

Processor time is taken, not the time of day, so that a busy machine gives the same figures.
"""

from __future__ import annotations

import time

from benchmarks import command
from micrographia import phantoms


def images_per_minute(category: str, images: int, side: int) -> float:
    """Images a minute of processor time, databars included."""
    phantoms.draw(category, 0, (side, side), "fei")
    begin = time.process_time()
    for seed in range(images):
        phantoms.draw(category, seed, (side, side), ("fei", "zeiss", "tescan")[seed % 3])
    return 60 * images / (time.process_time() - begin)


def main() -> None:
    parser = command.parser(__doc__)
    parser.add_argument("--images", type=int, default=24, help="images of each category")
    parser.add_argument("--side", type=int, default=512, help="rows and columns of each image")
    options = parser.parse_args()
    rates = {name: images_per_minute(name, options.images, options.side) for name in phantoms.CATEGORIES}
    overall = len(rates) / sum(1 / rate for rate in rates.values())
    figures = {f"images_per_minute {name}": round(rate, 1) for name, rate in rates.items()}
    figures |= {"images_per_minute": round(overall, 1), "side": options.side, "images": options.images}
    command.show(figures, options.json)


if __name__ == "__main__":
    main()
