"""Integer tables of bell-shaped distributions, made by integer arithmetic from one shipped row of integers.

    normal.npy (Φ at k/256, 30 bits) ─▶ interpolation, mixing, rounding: integers only ─▶ icm.bitstream.Tables

A network's symbols need a table for each centre and width that occurs: too many to ship, and they must not depend on a
machine's floats. So what ships is Φ itself as integers (`digest` names it in the header of every network file), and
whatever is made of it here is made of sums, products, shifts and floor divisions of int64.

Units: widths are 2^(w/8) symbols for an integer w (eighths of an octave); centres are whole symbols.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import numpy as np

from icm.bitstream import Tables

TOTAL = 1 << 16
BITS = 30  # of Φ
STEP = 256  # entries of Φ a standard deviation
WIDEST, NARROWEST = 96, -32  # eighths of an octave: 2^12 and 2^-4 symbols
OCTAVE = (256, 279, 304, 332, 362, 395, 431, 470)  # 256·2^(k/8), rounded
TAIL = 5  # standard deviations that a table without limits covers on either side

# Mixtures of two bells: width of each (eighths of an octave beside w), parts of 16. From light to heavy tails.
SHAPES = (((0, 16), (0, 0)), ((-2, 12), (6, 4)), ((-4, 11), (7, 5)), ((-8, 9), (8, 7)))


@functools.cache
def _phi() -> np.ndarray:
    """Φ(k/256)·2^30 for k = 0 … 2048, int64."""
    return np.load(Path(__file__).parent / "normal.npy", allow_pickle=False).astype(np.int64)


@functools.cache
def digest() -> bytes:
    """SHA-256 of what decides every table: Φ, and the constants above."""
    constants = repr((TOTAL, BITS, STEP, WIDEST, NARROWEST, OCTAVE, TAIL, SHAPES)).encode()
    return hashlib.sha256(b"vcm bells 1\0" + constants + _phi().astype("<i4").tobytes()).digest()


def cumulative(twice: np.ndarray, width: int) -> np.ndarray:
    """Φ(x / σ)·2^30 with x = twice/2 symbols and σ = 2^(width/8), (n,) int64."""
    octave, eighth = divmod(width, 8)
    # |x|/σ in units of 1/256 entries of 1/256 σ: |twice| · 2^15 / (2^octave · OCTAVE/256)
    scaled = np.abs(twice.astype(np.int64)) << (23 - min(octave, 0))
    place = scaled // (OCTAVE[eighth] << max(octave, 0))
    whole, part = np.minimum(place >> 8, 8 * STEP - 1), place & 255
    part = np.where(place >> 8 >= 8 * STEP, 256, part)
    phi = _phi()
    above = phi[whole] + ((phi[whole + 1] - phi[whole]) * part >> 8)
    return np.where(twice >= 0, above, (1 << BITS) - above)


def frequencies(low: int, high: int, centre: int, width: int, shape: int) -> np.ndarray:
    """Of the symbols low … high and of the escape behind them: integers ≥ 1 that sum to 2^16."""
    edges = 2 * (np.arange(low, high + 2, dtype=np.int64) - centre) - 1
    mass = np.zeros(high - low + 1, np.int64)
    for wider, parts in SHAPES[shape]:
        mass += parts * np.diff(cumulative(edges, min(max(width + wider, NARROWEST), WIDEST + 8)))
    room = TOTAL - len(mass) - 1
    total = max(int(mass.sum()), 1)
    out = np.append(1 + mass * room // total, 1)
    out[int(np.argmax(mass))] += TOTAL - int(out.sum())  # what rounding left goes to the likeliest
    return out


def width_of(sigma: float) -> int:
    """The width nearest to a standard deviation in symbols; the encoder's choice, so floats may make it."""
    return int(np.clip(round(8 * float(np.log2(max(sigma, 2.0**-4)))), NARROWEST, WIDEST))


def bounded(symbols: int, cells: list[tuple[int, int]], shape: int) -> Tables:
    """Tables of the symbols 0 … symbols − 1, one for each (centre, width)."""
    return Tables([frequencies(0, symbols - 1, c, w, shape) for c, w in cells], [0] * len(cells))


@functools.lru_cache(maxsize=24)  # a section of a few bytes may ask for 7 MB of tables, and the next for others
def centred(widths: tuple[int, ...], shape: int) -> Tables:
    """Tables around 0, one for each width, each as long as pays; the rest escapes."""
    rows, offsets = [], []
    for width in widths:
        heavy = width + max(wider for wider, parts in SHAPES[shape] if parts)
        octave, eighth = divmod(heavy, 8)
        sigma = (OCTAVE[eighth] << octave if octave >= 0 else OCTAVE[eighth] >> -octave) >> 8
        radius = min(TAIL * sigma + 2, 20_000)
        rows.append(frequencies(-radius, radius, 0, width, shape))
        offsets.append(-radius)
    return Tables(rows, offsets)


@functools.lru_cache(maxsize=64)
def uniform(count: int) -> Tables:
    """One table of the symbols 0 … count − 1, all but equally likely, 1 ≤ count < 2^15."""
    each, rest = divmod(TOTAL - 1, count)
    return Tables([np.append(each + (np.arange(count) < rest), 1)], [0])
