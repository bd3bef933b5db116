"""How a scanning electron microscope sees a height map: yield, shadow, charging, focus, noise, display."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, signal

from micrographia.phantoms.fields import Array, rough, soften
from micrographia.phantoms.scene import Scene


@dataclass(frozen=True)
class Optics:
    """The state of the microscope for one image. Lengths are pixels."""

    slope: float = 0.5
    """Weight of the rise of yield with the tilt of the surface."""
    rim: float = 0.5
    """Extra signal from edges, where electrons also leave through the side."""
    side: float = 0.3
    """How much brighter a slope towards the detector is than one away from it; 0 for an in-lens detector."""
    azimuth_deg: float = 60.0
    """Where the detector stands, counter-clockwise from growing columns."""
    shadow: float = 0.8
    """How fast signal fails in recesses."""
    depth: float = 1.5
    """Escape depth: edges glow to about this distance."""
    blur: float = 0.8
    """Standard deviation of the probe."""
    astigmatism: float = 1.0
    """Longer over shorter axis of the probe."""
    astigmatism_deg: float = 0.0
    trail: float = 0.0
    """Dark trail of charge along the scan line behind bright places."""
    lines: float = 0.0
    """Standard deviation of the brightness of whole scan lines, of full scale."""
    sway: float = 0.0
    """Standard deviation of the sideways displacement of scan lines."""
    dose: float = 150.0
    """Detected electrons per pixel at white."""
    readout: float = 0.01
    """Standard deviation of the amplifier's noise, of full scale."""
    vignette: float = 0.0
    """Loss of signal in the corners."""
    drift: float = 0.0
    """Slow unevenness of the background, of full scale."""
    black: float = 0.06
    white: float = 0.95
    """Display levels of the darkest and brightest percentile."""
    gamma: float = 1.0


def microscope(specimen: np.random.Generator, image: np.random.Generator, unit: float) -> tuple[Optics, bool]:
    """Draw a microscope set up for a specimen and how well it stands for one image; whether it is in-lens."""
    inlens = bool(specimen.random() < 0.3)
    azimuth = float(specimen.choice([45, 60, 90, 110, 135]))
    base = Optics(
        slope=specimen.uniform(0.35, 0.8),
        rim=specimen.uniform(0.3, 0.9) * (1.4 if inlens else 1.0),
        side=0.0 if inlens else specimen.uniform(0.2, 0.55),
        azimuth_deg=azimuth,
        shadow=specimen.uniform(0.5, 1.1),
        depth=max(0.8, specimen.uniform(0.9, 2.4) * unit),
        trail=specimen.uniform(0.1, 0.35) if specimen.random() < 0.25 else 0.0,
        vignette=specimen.uniform(0, 0.25),
    )
    noisy = image.random() < 0.2
    return (
        replace(
            base,
            blur=float(np.clip(image.gamma(4, 0.16), 0.45, 1.4)),
            astigmatism=1 + image.exponential(0.12),
            astigmatism_deg=image.uniform(0, 180),
            lines=image.uniform(0.012, 0.03) if image.random() < 0.2 else image.uniform(0, 0.004),
            sway=image.uniform(0.3, 0.7) if image.random() < 0.08 else 0.0,
            dose=image.uniform(25, 70) if noisy else image.uniform(90, 500),
            readout=image.uniform(0.005, 0.025),
            drift=image.uniform(0, 0.05),
            black=image.uniform(0.0, 0.14),
            white=image.uniform(0.72, 1.05),
            gamma=image.uniform(0.8, 1.2),
        ),
        inlens,
    )


def expose(scene: Scene, optics: Optics, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The 8-bit picture of a scene, (rows, columns)."""
    signal_ = emission(scene, optics)
    signal_ = _charge(signal_, optics)
    signal_ = _focus(_sway(signal_, optics, rng), optics)
    return _display(_levels(signal_, optics), optics, rng)


def emission(scene: Scene, optics: Optics) -> Array:
    """Detected secondary electrons per primary, in units of a flat surface of tone 1, before any blur.

    Yield rises as 1/cos of the tilt of the surface, up to saturation (Reimer, Scanning Electron Microscopy,
    2nd ed. 1998, section 4.3); what is surrounded by higher ground is seen from a smaller solid angle; a
    detector at the side favours the slopes that face it.
    """
    fall_row, fall_col = _slopes(scene.height)
    secant = np.sqrt(1 + fall_row**2 + fall_col**2)
    tilt = 1 - np.exp(-(secant - 1) / 1.2)
    angle = np.deg2rad(optics.azimuth_deg)
    facing = (fall_row * -np.sin(angle) + fall_col * np.cos(angle)) / secant
    glow = scene.tone * (1 + 1.6 * optics.slope * tilt + optics.side * facing)
    glow += optics.rim * _rim(scene.height, optics.depth) * (0.35 + 0.65 * scene.tone)
    return np.asarray(glow * _openness(scene.height, optics.shadow), np.float32)


def _slopes(height: Array) -> tuple[Array, Array]:
    """Downhill slope along rows and columns, from whichever one-sided difference is the gentler.

    So a pixel beside a cliff takes the slope of its own surface, not that of the cliff (minmod limiter).
    """
    fall = []
    for axis in (0, 1):
        step = np.diff(
            height, axis=axis, prepend=np.take(height, [0], axis), append=np.take(height, [-1], axis)
        )
        n = height.shape[axis]
        before, after = np.take(step, range(n), axis), np.take(step, range(1, n + 1), axis)
        gentle = np.where(np.abs(before) < np.abs(after), before, after)
        fall.append(-np.where(before * after > 0, gentle, 0))
    return fall[0], fall[1]


def _rim(height: Array, depth: float) -> Array:
    """Between 0 and 1: how close to a falling edge a place lies, on the upper side."""
    drop = np.clip((height - ndimage.minimum_filter(height, 3)) / 4 - 0.3, 0, 1)
    near = ndimage.gaussian_filter(drop, depth) * (1 + depth)
    lower = np.clip((ndimage.maximum_filter(height, 3) - height) / 4 - 0.3, 0, 1)
    return np.asarray(np.clip(near, 0, 1.2) * (1 - 0.8 * lower))


def _openness(height: Array, strength: float) -> Array:
    """Between 0 and 1: the share of the signal that gets past higher surroundings at three distances."""
    sight = np.ones_like(height)
    extent = max(height.shape)
    for sigma in (3 * extent / 512, 9 * extent / 512, 26 * extent / 512):
        above = np.maximum(soften(height, sigma) - height, 0) / sigma
        sight *= 1 / (1 + strength * above)
    return sight


def _charge(values: Array, optics: Optics) -> Array:
    """Charge left by bright places pulls the signal down further along the line and leaks away slowly."""
    if optics.trail <= 0:
        return values
    keep = 1 - 1 / (0.06 * values.shape[1])
    bright = np.maximum(values - np.percentile(values, 85), 0)
    left_behind = signal.lfilter([1 - keep], [1, -keep], bright, axis=1).astype(np.float32)
    return np.asarray(np.maximum(values - 8 * optics.trail * left_behind, 0.02))


def _sway(values: Array, optics: Optics, rng: np.random.Generator) -> Array:
    """Vibration and stray fields displace scan lines sideways, neighbours alike."""
    wobble = signal.lfilter([0.6], [1, -0.8], rng.normal(size=values.shape[0]))
    if optics.sway <= 0:
        return values
    at = np.arange(values.shape[1])[None] + (optics.sway * wobble)[:, None]
    at = np.clip(at, 0, values.shape[1] - 1.001)
    left = at.astype(np.intp)
    part = (at - left).astype(np.float32)
    here, beyond = (np.take_along_axis(values, at, 1) for at in (left, left + 1))
    return np.asarray(here * (1 - part) + beyond * part)


def _focus(values: Array, optics: Optics) -> Array:
    """Convolve with an elliptical Gaussian probe, on a frame mirrored at its edges."""
    pad = 8
    frame = np.pad(values, pad, mode="reflect")
    rows, cols = (fft.next_fast_len(n, real=True) for n in frame.shape)
    q_row = fft.fftfreq(rows).astype(np.float32)[:, None]
    q_col = fft.rfftfreq(cols).astype(np.float32)[None]
    angle = np.deg2rad(optics.astigmatism_deg)
    long, short = optics.blur * np.sqrt(optics.astigmatism), optics.blur / np.sqrt(optics.astigmatism)
    along = q_col * np.cos(angle) - q_row * np.sin(angle)
    across = q_col * np.sin(angle) + q_row * np.cos(angle)
    transfer = np.exp(-2 * np.pi**2 * ((long * along) ** 2 + (short * across) ** 2))
    blurred = fft.irfft2(fft.rfft2(frame, s=(rows, cols)) * transfer, s=(rows, cols))
    return np.asarray(blurred[pad : pad + values.shape[0], pad : pad + values.shape[1]], np.float32)


def _levels(values: Array, optics: Optics) -> Array:
    """Brightness and contrast as an operator would set them: a few percent of the pixels at either end."""
    low, high = np.percentile(values, (0.5, 99.3))
    share = np.clip((values - low) / max(high - low, 1e-6), 0, 1.4) ** optics.gamma
    return np.asarray(optics.black + (optics.white - optics.black) * share)


def _display(levels: Array, optics: Optics, rng: np.random.Generator) -> NDArray[np.uint8]:
    shape = levels.shape
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    cols = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    levels = levels * (1 - optics.vignette * (rows**2 + cols**2) / 2)
    levels = levels + optics.drift * rough(shape, rng, hurst=1.5)
    levels = levels + optics.lines * signal.lfilter([0.8], [1, -0.6], rng.normal(size=(shape[0], 1)), axis=0)
    counted = rng.poisson(np.maximum(levels, 0) * optics.dose) / optics.dose
    counted += optics.readout * rng.standard_normal(shape, dtype=np.float32)
    return np.clip(np.rint(255 * counted), 0, 255).astype(np.uint8)
