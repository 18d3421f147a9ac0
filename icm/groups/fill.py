"""What is shown where a group is missing: grey, nothing (transparent), or a small picture of all that is open."""

from __future__ import annotations

import numpy as np

FILLS = ("grey", "background", "transparent")
GREY = 128


def base_picture(picture: np.ndarray, hidden: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, 3) → (ceil(H/factor), ceil(W/factor), 3) uint8, where no `hidden` pixel (H, W) counts.

    Hidden pixels are the mean of the others, so the result does not depend on them.
    """
    height, width = picture.shape[:2]
    blank = np.full(3, GREY, np.uint8) if hidden.all() else np.rint(picture[~hidden].mean(0)).astype(np.uint8)
    shown = np.where(hidden[..., None], blank, picture)
    padded = np.pad(shown, ((0, -height % factor), (0, -width % factor), (0, 0)), mode="edge").astype(np.uint32)
    blocks = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor, 3).sum((1, 3))
    return ((blocks + factor * factor // 2) // (factor * factor)).astype(np.uint8)


def filled(picture: np.ndarray, missing: np.ndarray, fill: str, base: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 with `missing` (H, W) bool filled; (H, W, 4) for transparent. base: reduced, or None.

    ValueError where "background" is asked for, something is missing, and there is no base.
    """
    if fill == "transparent":
        alpha = np.where(missing, 0, 255).astype(np.uint8)
        return np.dstack([np.where(missing[..., None], 0, picture), alpha]).astype(np.uint8)
    if not missing.any():
        return np.ascontiguousarray(picture)
    if fill == "background":
        if base is None:
            raise ValueError("no base to fill missing groups with: encode with --base, or choose another --fill")
        import cv2

        larger = cv2.resize(base, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
        return np.where(missing[..., None], larger, picture)
    return np.where(missing[..., None], np.uint8(GREY), picture)
