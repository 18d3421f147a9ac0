"""`--groups-from motion`: what moves before a static camera, without labels or a network.

    frame ─mean of 8×8 blocks─▶ difference to the background ─▶ blocks that differ, without specks, one wider ─▶ labels
                                        ▲ one level a frame towards the frame: an approximate median over time;
                                          where something moves, every fourth frame only

The approximate median is McFarlane and Schofield's (Machine Vision and Applications 8, 1995): an integer a block and
colour, so the same clip gives the same masks everywhere. What stands still becomes background as slowly as it differs
(40 levels: some 110 frames), and where something that stood in the first frame leaves, the hole counts as moving so
long. Means of blocks, because a camera's noise is in every pixel; not for cameras that move, flickering light, water.
"""

from __future__ import annotations

import cv2
import numpy as np

BLOCK = 8  # pixels
LEVELS = 12  # of 255, in any colour: what differs more is moving
SLOW = 4  # frames a level, where something moves
SPECK = 4  # blocks: smaller pieces are none
NAME = "moving"


class Motion:
    """A reader of labels (icm/groups/sources.py) that must be given the frames of one clip in order."""

    def __init__(self) -> None:
        self.background: np.ndarray | None = None
        self.frames = 0

    def __call__(self, name: str, picture: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
        """(H, W, 3) uint8 → (labels (H, W), names): 1 where something moves. ValueError where the size changes."""
        means = block_means(picture)
        if self.background is None:
            self.background = means.copy()
        if self.background.shape != means.shape:
            raise ValueError(f"{name}: has another size than the frames before it")
        moving = (np.abs(means - self.background) > LEVELS).any(2).astype(np.uint8)
        due = (moving == 0) | (self.frames % SLOW == 0)
        self.background += np.sign(means - self.background) * due[..., None]
        self.frames += 1
        count, pieces, about, _ = cv2.connectedComponentsWithStats(moving, connectivity=8)
        large = np.zeros(count, np.uint8)
        large[1:] = about[1:, cv2.CC_STAT_AREA] >= SPECK
        wide = cv2.dilate(large[pieces], np.ones((3, 3), np.uint8))
        height, width = picture.shape[:2]
        return wide.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width].astype(np.int32), {1: NAME}


def block_means(picture: np.ndarray) -> np.ndarray:
    """(ceil(H/8), ceil(W/8), 3) int32, rounded down; the edges are repeated."""
    padded = np.pad(picture, ((0, -picture.shape[0] % BLOCK), (0, -picture.shape[1] % BLOCK), (0, 0)), mode="edge")
    rows, cols = padded.shape[0] // BLOCK, padded.shape[1] // BLOCK
    blocks = padded.reshape(rows, BLOCK, cols, BLOCK, 3).sum((1, 3), dtype=np.int32)
    means: np.ndarray = blocks // BLOCK**2
    return means
