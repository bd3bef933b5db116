"""A shape on which a segmenter stumbles: long, and as deep all along its middle."""

import numpy as np


def rod(angle, half_length=60, half_width=9, side=180):
    """(side, side) whether a pixel is of a rod with round ends; ``angle`` in degrees from the rows."""
    row, column = np.mgrid[:side, :side] - side / 2
    turn = np.radians(angle)
    along = column * np.cos(turn) - row * np.sin(turn)
    across = column * np.sin(turn) + row * np.cos(turn)
    return np.hypot(np.maximum(np.abs(along) - half_length, 0), across) <= half_width
