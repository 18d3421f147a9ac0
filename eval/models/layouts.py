"""How detectors in ONNX files want a picture and lay out what they find, as pure functions.

Shapes: H, W a picture's; h, w the network's input; N boxes; C classes; M candidates (a box may be one of several
classes). Boxes are xyxy in pixels of the network's input until `unfit`.

    picture (H, W, 3) ──fit──▶ (h, w, 3), Fit ──network──▶ output ──LAYOUTS[…]──▶ boxes (M, 4), scores, classes
        boxes in the picture ◀──unfit── kept ◀──suppress──┘
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from eval.models.labels import COCO_THINGS

GREY = 114  # of a letterbox's borders, as YOLO's networks are trained
MOST = 30_000  # candidates that suppression looks at, the best first, as Ultralytics does

Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""boxes (M, 4) float64 xyxy, scores (M,) float64, classes (M,) int64, numbered from 0"""


@dataclass(frozen=True)
class Fit:
    """Where a picture lies in the network's input: x_input = x·scale + offset, in x and y."""

    scale: tuple[float, float]
    offset: tuple[int, int]


def fit(picture: np.ndarray, size: tuple[int, int], resize: str) -> tuple[np.ndarray, Fit]:
    """The picture at `size` (width, height): "stretch", or "letterbox", which keeps its shape between grey borders."""
    height, width = picture.shape[:2]
    if resize == "stretch":
        return cv2.resize(picture, size), Fit((size[0] / width, size[1] / height), (0, 0))
    factor = min(size[0] / width, size[1] / height)
    inner = max(round(width * factor), 1), max(round(height * factor), 1)
    scaled = picture if inner == (width, height) else cv2.resize(picture, inner, interpolation=cv2.INTER_LINEAR)
    # an odd border is wider at the right and at the bottom
    left, top = ((size[i] - inner[i]) // 2 for i in (0, 1))
    whole = np.full((size[1], size[0], 3), GREY, np.uint8)
    whole[top:top + inner[1], left:left + inner[0]] = scaled
    # not `factor`: a side is rounded to whole pixels, which on a small input is a pixel of the picture and more
    return whole, Fit((inner[0] / width, inner[1] / height), (left, top))


def unfit(boxes: np.ndarray, fitted: Fit) -> np.ndarray:
    """Boxes (N, 4) in the network's input -> in the picture."""
    return (boxes - np.tile(fitted.offset, 2)) / np.tile(fitted.scale, 2)


def suppress(found: Candidates, least: float, overlap: float, most: int) -> np.ndarray:
    """Indices of the candidates that stay, best first: score > least, IoU with a better one of its class <= overlap."""
    boxes, scores, classes = found
    use = np.flatnonzero(scores > least)
    use = use[np.argsort(-scores[use], kind="stable")[:MOST]]
    if not len(use):
        return use
    corners = np.concatenate([boxes[use, :2], boxes[use, 2:] - boxes[use, :2]], 1)
    kept = cv2.dnn.NMSBoxesBatched(corners.tolist(), scores[use].tolist(), classes[use].tolist(), least, overlap)
    return use[np.asarray(kept, int).ravel()[:most]]


def fastestdet(output: np.ndarray, size: tuple[int, int], least: float, several: bool) -> Candidates:
    """output (5 + C, rows, columns): a box a cell; objectness, box (tanh offset of the centre in cells, logits of width
    and height as shares of the picture), classes. Score: objectness^0.6 · class^0.4, as its authors have it."""
    _, rows, columns = output.shape
    y, x = np.mgrid[:rows, :columns]
    side = [1 / (1 + np.exp(-row)) for row in output[3:5]]
    left = (np.tanh(output[1]) + x) / columns - side[0] / 2
    top = (np.tanh(output[2]) + y) / rows - side[1] / 2
    boxes = np.stack([left, top, left + side[0], top + side[1]], -1).reshape(-1, 4) * np.tile(size, 2)
    classes = output[5:].reshape(output.shape[0] - 5, -1)
    return boxes, (output[0].ravel() ** 0.6 * classes.max(0) ** 0.4).astype(np.float64), classes.argmax(0)


def yolov5(output: np.ndarray, size: tuple[int, int], least: float, several: bool) -> Candidates:
    """output (N, 5 + C): centre x, y, width, height in pixels, objectness, classes. YOLOv5, v6, v7 (exported with its
    grid)."""
    use = output[:, 4] > least  # no class can score more
    return _classes(output[use, :4], output[use, 5:] * output[use, 4:5], least, several)


def yolov8(output: np.ndarray, size: tuple[int, int], least: float, several: bool) -> Candidates:
    """output (4 + C, N): centre x, y, width, height in pixels, classes. YOLOv8 and later, and v5u."""
    return _classes(output[:4].T, output[4:].T, least, several)


def rows6(output: np.ndarray, size: tuple[int, int], least: float, several: bool) -> Candidates:
    """output (N, 6), suppressed already: x1, y1, x2, y2, score, class. YOLOv10, YOLO26, exports with NMS inside."""
    return output[:, :4].astype(np.float64), output[:, 4].astype(np.float64), output[:, 5].astype(np.int64)


def rows7(output: np.ndarray, size: tuple[int, int], least: float, several: bool) -> Candidates:
    """output (N, 7), suppressed already: picture, x1, y1, x2, y2, class, score. YOLOv7 exported end to end."""
    return output[:, 1:5].astype(np.float64), output[:, 6].astype(np.float64), output[:, 5].astype(np.int64)


def _classes(centred: np.ndarray, scores: np.ndarray, least: float, several: bool) -> Candidates:
    """Boxes (N, 4) by centre and scores (N, C) -> candidates: every class above `least`, or each box's best one."""
    if several:
        box, label = np.nonzero(scores > least)
    else:
        box, label = np.arange(len(scores)), scores.argmax(1) if len(scores) else np.zeros(0, np.int64)
    half = centred[box, 2:].astype(np.float64) / 2
    boxes = np.concatenate([centred[box, :2] - half, centred[box, :2] + half], 1)
    return boxes, scores[box, label].astype(np.float64), label


@dataclass(frozen=True)
class Layout:
    """A way of decoding, and the settings that go with it where nothing else is said."""

    decode: Callable[[np.ndarray, tuple[int, int], float, bool], Candidates]
    resize: str = "letterbox"
    colour: str = "rgb"
    score: float = 0.001  # low, as for AP, which wants the whole curve
    iou: float | None = 0.7  # None: suppressed already
    clip: bool = True
    axes: int = 3  # of the output


LAYOUTS: dict[str, Layout] = {
    "fastestdet": Layout(fastestdet, "stretch", "bgr", 0.05, 0.45, clip=False, axes=4),  # as in its own evaluation
    "yolov5": Layout(yolov5, iou=0.6),
    "yolov8": Layout(yolov8),
    "rows6": Layout(rows6, iou=None),
    "rows7": Layout(rows7, iou=None, axes=2),
}


def recognise(shape: Sequence[int], classes: int | None) -> str | None:
    """The layout of an output (1, …) or (N, 7) of that shape; `classes`: their number where it is known, else COCO's.

    None where it could be anything: five and more columns are told apart by the number of classes alone.
    """
    known = classes or len(COCO_THINGS)
    if len(shape) == 4 and shape[0] == 1 and shape[1] == 5 + known:
        return "fastestdet"
    if len(shape) == 2 and shape[1] == 7:
        return "rows7"
    if len(shape) != 3 or shape[0] != 1:
        return None
    if shape[2] == 5 + known and shape[1] != 4 + known:
        return "yolov5"
    if shape[1] == 4 + known and shape[2] != 5 + known:
        return "yolov8"
    return "rows6" if shape[2] == 6 and shape[1] <= 1000 else None
