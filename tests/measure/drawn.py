"""Images drawn with known truth for the tests of measure and teach."""

import numpy as np


def stripes(angle, shape=(160, 200), period=20.0, noise=4.0):
    """Sinusoidal stripes that run along ``angle`` degrees counter-clockwise from horizontal."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    across = np.radians(angle + 90)
    phase = 2 * np.pi * (column * np.cos(across) - row * np.sin(across)) / period
    grey = 128 + 60 * np.sin(phase) + np.random.default_rng(0).normal(0, noise, shape)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def discs(n, ground=180, grey=60, radius=6, seed=0, shape=(160, 160), noise=2.0):
    """``n`` discs that neither touch nor reach the edge, on an even ground."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, float(ground))
    centres: list[tuple[float, float]] = []
    while len(centres) < n:
        r, c = (rng.uniform(2 * radius, length - 2 * radius) for length in shape)
        if all(np.hypot(r - a, c - b) > 4 * radius for a, b in centres):
            centres.append((r, c))
            image[np.hypot(row - r, column - c) <= radius] = grey
    return np.clip(np.rint(image + rng.normal(0, noise, shape)), 0, 255).astype(np.uint8)


def bars(n, width=4, grey=230, ground=90, shape=(160, 160)):
    """``n`` straight vertical bars at equal distances on an even ground."""
    image = np.full(shape, ground, np.uint8)
    for i in range(n):
        left = round((i + 0.5) * shape[1] / n - width / 2)
        image[:, left : left + width] = grey
    return image
