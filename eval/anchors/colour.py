"""RGB to YUV 4:2:0 and back, with matrix, range and chroma site fixed rather than left to a library's defaults.

BT.709 matrix, limited ("video") range, 8 bits, chroma sited left (horizontally on the even luma
samples, vertically half-way between two rows): what the video anchors put into their headers.
H, W: picture height and width; chroma planes are (ceil(H/2), ceil(W/2)).
Source: ITU-R BT.709-6, items 3.2 to 3.5; ITU-T H.273, chroma sample location type 0.
"""

from __future__ import annotations

import numpy as np

KR, KB = 0.2126, 0.0722  # BT.709
KG = 1.0 - KR - KB

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


def rgb_to_yuv420(picture: np.ndarray) -> Planes:
    """Y (H, W), Cb and Cr (ceil(H/2), ceil(W/2)), all uint8, from (H, W, 3) uint8 RGB; any size from 1x1."""
    rgb = picture.astype(np.float32) / 255.0
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = KR * red + KG * green + KB * blue
    cb = (blue - y) / (2.0 * (1.0 - KB))
    cr = (red - y) / (2.0 * (1.0 - KR))
    return _quantise(16.0 + 219.0 * y), _quantise(128.0 + 224.0 * _halve(cb)), _quantise(128.0 + 224.0 * _halve(cr))


def yuv420_to_rgb(planes: Planes) -> np.ndarray:
    """(H, W, 3) uint8 RGB from the planes of `rgb_to_yuv420`."""
    height, width = planes[0].shape
    y = (planes[0].astype(np.float32) - 16.0) / 219.0
    cb, cr = (_double((plane.astype(np.float32) - 128.0) / 224.0)[:height, :width] for plane in planes[1:])
    red = y + 2.0 * (1.0 - KR) * cr
    blue = y + 2.0 * (1.0 - KB) * cb
    green = (y - KR * red - KB * blue) / KG
    return _quantise(255.0 * np.stack([red, green, blue], axis=-1))


def _quantise(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _halve(plane: np.ndarray) -> np.ndarray:
    """Left-sited subsampling: mean of two rows, then 1-2-1 around each even column."""
    height, width = plane.shape
    plane = np.pad(plane, ((0, height % 2), (0, 0)), mode="edge")
    plane = 0.5 * (plane[0::2] + plane[1::2])
    plane = np.pad(plane, ((0, 0), (1, 1 + width % 2)), mode="edge")
    return 0.25 * plane[:, 0:-2:2] + 0.5 * plane[:, 1:-1:2] + 0.25 * plane[:, 2::2]


def _double(plane: np.ndarray) -> np.ndarray:
    """Bilinear interpolation at the luma samples' places; (h, w) to (2h, 2w)."""
    rows = np.pad(plane, ((1, 1), (0, 0)), mode="edge")
    tall = np.empty((2 * plane.shape[0], plane.shape[1]), np.float32)
    tall[0::2] = 0.75 * rows[1:-1] + 0.25 * rows[:-2]  # chroma lies a quarter of its step below the upper luma row
    tall[1::2] = 0.75 * rows[1:-1] + 0.25 * rows[2:]
    wide = np.empty((tall.shape[0], 2 * tall.shape[1]), np.float32)
    wide[:, 0::2] = tall
    wide[:, 1::2] = 0.5 * (tall + np.pad(tall, ((0, 0), (0, 1)), mode="edge")[:, 1:])
    return wide
