"""Face embedders behind `Embedder`: the offline one, SFace, facenet's InceptionResnet, and any ONNX file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from eval.privacy.base import SIDE, About, Embedder, unit
from eval.privacy.files import SFACE, ModelFile, find, sha256
from eval.privacy.patterns import Patterns

FACENET = ModelFile(
    "20180402-114759-vggface2.pt",
    "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt",
    "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
    "MIT (trained on VGGFace2, whose pictures are for research)",
)


class OnnxEmbedder:
    """Any ONNX network of aligned faces.

    The crop (112, 112) is scaled to the input's size where that is fixed; input NCHW or NHWC by its shape; RGB, or BGR
    with `bgr`; (x − mean) / scale, by default to [−1, 1] as ArcFace's networks want it.
    """

    def __init__(self, path: str | os.PathLike[str], bgr: bool = False, mean: float = 127.5, scale: float = 127.5,
                 about: About | None = None) -> None:  # fmt: skip
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give --embedder an ONNX file or one of {', '.join(EMBEDDERS)}")
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"{path}: needs onnxruntime: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors come as exceptions; told once, by us
        try:
            self._session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"{path}: does not load as an ONNX embedder ({reason}); export it again") from None
        self.about = about or About(path.name, sha256(path), "not known: the file's owner knows", str(path))
        self._path, self._bgr, self._mean, self._scale = path, bgr, mean, scale
        entry = self._session.get_inputs()[0]
        self._input, shape = entry.name, entry.shape
        if len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise ValueError(f"{path}: its input {shape} takes no pictures of three channels; give a face embedder")
        self._channels_first = shape[1] == 3
        height, width = shape[2:] if self._channels_first else shape[1:3]
        self._size = tuple(side if isinstance(side, int) else SIDE for side in (width, height))
        self.embed([np.full((SIDE, SIDE, 3), 128, np.uint8)])  # one that cannot run is told now

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """See `Embedder`. One crop at a time, for many exports have a batch of one."""
        rows = []
        for crop in crops:
            scaled = crop if crop.shape[1::-1] == self._size else cv2.resize(crop, self._size)
            x = (scaled[..., ::-1] if self._bgr else scaled).astype(np.float32)
            x = (x - self._mean) / self._scale
            x = x.transpose(2, 0, 1) if self._channels_first else x
            try:
                result = self._session.run(None, {self._input: np.ascontiguousarray(x[None])})[0]
            except Exception as error:
                reason = " ".join(str(error).split())[:120]
                raise ValueError(f"{self._path}: does not run on a face crop ({reason})") from None
            row = np.asarray(result, np.float32).ravel()
            if not np.isfinite(row).all():
                raise ValueError(f"{self._path}: gives values that are no numbers")
            rows.append(row)
        return unit(np.stack(rows)) if rows else np.zeros((0, 1), np.float32)


class Facenet:
    """facenet's InceptionResnet V1 trained on VGGFace2 (facenet-pytorch), 160 x 160."""

    def __init__(self) -> None:
        try:
            from facenet_pytorch import InceptionResnetV1
        except ImportError as error:
            raise ImportError("facenet needs facenet-pytorch: pip install --no-deps facenet-pytorch") from error
        import torch

        path = find(FACENET)
        self.about = About("facenet", FACENET.sha256, FACENET.licence, FACENET.url)
        self._network: Any = InceptionResnetV1(pretrained=None, classify=False, num_classes=8631)
        try:
            self._network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # the hash was right, so this is the library's doing
            reason = " ".join(str(error).split())[:120]
            raise ValueError(f"{path}: does not fit this facenet-pytorch ({reason})") from None
        self._network.eval()

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """See `Embedder`."""
        import torch

        rows = []
        for crop in crops:
            x = torch.from_numpy(cv2.resize(crop, (160, 160)).transpose(2, 0, 1).copy()).float()
            with torch.inference_mode():
                rows.append(self._network((x[None] - 127.5) / 128)[0].numpy())
        return unit(np.stack(rows)) if rows else np.zeros((0, 1), np.float32)


def sface() -> OnnxEmbedder:
    """SFace (Zhong et al. 2021, OpenCV zoo 2021dec): aligned 112 x 112, RGB as 0 … 255."""
    return OnnxEmbedder(find(SFACE), mean=0.0, scale=1.0, about=About("sface", SFACE.sha256, SFACE.licence, SFACE.url))


EMBEDDERS: dict[str, Callable[[], Embedder]] = {"patterns": Patterns, "sface": sface, "facenet": Facenet}


def build_embedder(spec: str) -> Embedder:
    """A name of EMBEDDERS, or the path of an ONNX file; ValueError, ImportError or OSError, one line."""
    if spec in EMBEDDERS:
        return EMBEDDERS[spec]()
    if not spec.lower().endswith(".onnx"):
        raise ValueError(f"--embedder {spec}: unknown; give an .onnx file or one of {', '.join(EMBEDDERS)}")
    return OnnxEmbedder(spec)
