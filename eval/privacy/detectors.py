"""Face detectors behind `Detector`: MTCNN, whose weights come with facenet-pytorch's wheel, and OpenCV's YuNet."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eval.privacy.base import About, Detector, Face
from eval.privacy.files import YUNET, find

SMALLEST = 20  # pixels


class Mtcnn:
    """MTCNN (Zhang et al. 2016, arXiv 1604.02878) as facenet-pytorch packs it, on the CPU."""

    def __init__(self) -> None:
        try:
            import facenet_pytorch
        except ImportError as error:
            raise ImportError("mtcnn needs facenet-pytorch: pip install --no-deps facenet-pytorch") from error
        folder = Path(facenet_pytorch.__file__).parent / "data"
        together = hashlib.sha256(b"".join((folder / f"{part}.pt").read_bytes() for part in ("pnet", "rnet", "onet")))
        self.about = About("mtcnn", together.hexdigest(), "MIT", "facenet-pytorch's wheel (pnet.pt, rnet.pt, onet.pt)")
        self._network: Any = facenet_pytorch.MTCNN(keep_all=True, device="cpu", min_face_size=SMALLEST)

    def detect(self, picture: np.ndarray) -> list[Face]:
        """See `Detector`. Pictures smaller than a face give none."""
        if min(picture.shape[:2]) < SMALLEST:
            return []
        boxes, scores, landmarks = self._network.detect(np.ascontiguousarray(picture), landmarks=True)
        if boxes is None or scores[0] is None:
            return []
        return largest_first([Face(np.asarray(box, float), float(score), np.asarray(points, float))
                              for box, score, points in zip(boxes, scores, landmarks, strict=True)])  # fmt: skip


class YuNet:
    """YuNet (OpenCV zoo, 2023mar), through cv2.FaceDetectorYN."""

    def __init__(self) -> None:
        import cv2

        path = find(YUNET)
        self.about = About("yunet", YUNET.sha256, YUNET.licence, YUNET.url)
        try:
            self._network = cv2.FaceDetectorYN.create(os.fspath(path), "", (320, 320), 0.6)
        except cv2.error as error:
            raise ValueError(f"{path}: OpenCV {cv2.__version__} cannot load it ({error.err}); update OpenCV") from None

    def detect(self, picture: np.ndarray) -> list[Face]:
        """See `Detector`."""
        self._network.setInputSize((picture.shape[1], picture.shape[0]))
        rows = self._network.detect(np.ascontiguousarray(picture[..., ::-1]))[1]
        found = []
        for row in [] if rows is None else np.asarray(rows, float):
            # x, y, w, h, then five points: the person's right eye (left of the picture) first, as in `Face`
            found.append(Face(np.concatenate([row[:2], row[:2] + row[2:4]]), float(row[14]), row[4:14].reshape(5, 2)))
        return largest_first(found)


DETECTORS: dict[str, Callable[[], Detector]] = {"mtcnn": Mtcnn, "yunet": YuNet}


def build_detector(name: str) -> Detector:
    """The detector of that name; ValueError, ImportError or OSError, one line, where it cannot be had."""
    if name not in DETECTORS:
        raise ValueError(f"--face-detector {name}: unknown; known: {', '.join(DETECTORS)}")
    return DETECTORS[name]()


def largest_first(faces: list[Face]) -> list[Face]:
    """Those with finite coordinates, by falling size."""
    sound = [face for face in faces if np.isfinite(face.box).all() and np.isfinite(face.landmarks).all()]
    return sorted(sound, key=lambda face: -face.size_px)
