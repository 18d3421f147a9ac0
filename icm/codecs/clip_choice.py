"""Which tiles of a frame are worth sending: the encoder's choice alone, signalled, so any other will decode as well.

    debt of a tile += error of what is shown − error of the tile when it was last sent             (every frame)
    send where      lambda · pixels · debt > patience · bits of a tile

`lambda` is what the codec was trained with at its quality, so a tile is sent when that buys at least as much as bits
spent on a picture do. What changed for good keeps costing until it is sent, so the errors of the frames in between
add up (as in renting until one has paid the price of buying: never worse than twice the best choice in hindsight);
what comes and goes with the noise of a camera does not, since a decoded tile is as far from one noisy frame as from
the next. Errors are those of decoded against original pixels: nothing drifts.
"""

from __future__ import annotations

import numpy as np

from icm.quality import HIGHEST, LOWEST, STEPS

LMBDA_LOWEST, LMBDA_HIGHEST = 1e-4, 3e-2  # of the training configurations, at quality 1 and 100; bits a unit of MSE
PATIENCE = 1.0  # measured: clips.md
SLACK = 0.02  # of a tile's error, forgiven each frame: noise is not the same in every frame
CUT = 0.75  # a frame that sends more than this share of its tiles sends all, and is a key frame


class Choice:
    """Keeps the books of one clip's tiles. height, width: of a frame; tile: its side; code: quality·16."""

    def __init__(self, height: int, width: int, tile: int, code: int, patience: float = PATIENCE) -> None:
        self.rows, self.columns = (np.arange(0, side, tile) for side in (height, width))
        progress = (code / STEPS - LOWEST) / (HIGHEST - LOWEST)
        self.price = patience / (LMBDA_LOWEST * (LMBDA_HIGHEST / LMBDA_LOWEST) ** progress)  # squared error of a bit
        self.least = np.zeros((len(self.rows), len(self.columns)))
        self.debt = np.zeros_like(self.least)
        self.bits = 0.0  # of a tile, in the last key frame

    def errors(self, frame: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Squared error of each tile, summed over pixels, averaged over colours. (H, W, 3) uint8 → (rows, columns)."""
        difference = frame.astype(np.int32) - shown
        by_pixel = np.einsum("hwc,hwc->hw", difference, difference)
        return np.add.reduceat(np.add.reduceat(by_pixel, self.rows, 0, np.int64), self.columns, 1) / 3

    def wanted(self, frame: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """(rows, columns) bool: the tiles to send, given what a decoder shows without them. Once a frame."""
        self.debt = np.maximum(0, self.debt + self.errors(frame, shown) - (1 + SLACK) * self.least)
        return self.debt > self.price * self.bits

    def sent(self, tiles: np.ndarray, frame: np.ndarray, shown: np.ndarray, size: int) -> None:
        """Note that `tiles` were sent in `size` bytes, and what is shown since. Of a key frame, what it would have been
        at the quality of the others: that is what sending a tile can bring."""
        self.least[tiles] = self.errors(frame, shown)[tiles]
        self.debt[tiles] = 0
        if tiles.all():
            self.bits = 8 * size / tiles.size
