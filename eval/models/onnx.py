"""Detectors in ONNX files: `onnx:FILE.onnx`, through onnxruntime (`pip install onnxruntime`).

FastestDet and the YOLOs are recognised by the shape of their output (`layouts.py`). Anything that the file does not say
stands in FILE.onnx.yaml (or .json) beside it, whose keys are those of `Description`:

    categories: {1: pedestrian, 4: car}    # id in the labels -> name, in the order of the network's classes

Without that: the names that Ultralytics writes into its exports, matched with COCO's; else 80 classes are COCO's.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.models.labels import COCO_THINGS
from eval.models.layouts import LAYOUTS, Layout, fit, recognise, suppress, unfit
from eval.models.onnx_description import Description, read_description
from eval.models.scene_model import check

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class OnnxModel:
    """`TaskModel` around an ONNX detector. One picture at a time, so neighbours cannot change a result."""

    tasks: tuple[str, ...] = ("detection",)

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.name = f"onnx:{path}"
        if not self.path.is_file():
            raise ValueError(f"{path}: no such file; name a detector as onnx:FILE.onnx")
        beside = [Path(f"{path}{suffix}") for suffix in (".yaml", ".yml", ".json")]
        described = next((file for file in beside if file.is_file()), None)
        self.files = (self.path,) if described is None else (self.path, described)
        self.about = read_description(described) if described is not None else Description()
        self.note = self.about.note
        self._session: Any = None
        self._layout: Layout | None = None
        self._categories: dict[int, str] = {}
        self._size = (0, 0)

    @property
    def categories(self) -> dict[int, str]:
        """id -> name, in the order of the network's classes. Reads the file."""
        self._open()
        return self._categories

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """See `eval.models`."""
        self._open()
        return [self._one(check(picture)) for picture in pictures]

    def _one(self, picture: np.ndarray) -> dict[str, Any]:
        layout, about = self._layout, self.about
        assert layout is not None
        resized, fitted = fit(picture, self._size, about.resize or layout.resize)
        least = layout.score if about.score is None else about.score
        output = self._run(resized, about.colour or layout.colour)
        output = output[0] if output.ndim > 2 else output  # of this one picture
        boxes, scores, classes = found = layout.decode(output, self._size, least, about.several)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ValueError(f"{self.path}: gives values that are no numbers")
        overlap = layout.iou if about.iou is None else about.iou
        if overlap is None:
            use = np.flatnonzero(scores > least)
            kept = use[np.argsort(-scores[use], kind="stable")[:about.most]]
        else:
            kept = suppress(found, least, overlap, about.most)
        boxes = unfit(boxes[kept], fitted)
        if layout.clip:
            boxes = boxes.clip(0, np.tile(picture.shape[1::-1], 2))
        ids = np.array(list(self._categories), np.int64)
        if len(kept) and not 0 <= classes[kept].min() <= classes[kept].max() < len(ids):
            raise ValueError(f"{self.path}: finds class {classes[kept].max()}, and {len(ids)} are known; "
                             f"list its categories in {self._beside()}")  # fmt: skip
        return {"boxes": boxes.astype(np.float32), "scores": scores[kept].astype(np.float32),
                "labels": ids[classes[kept]]}  # fmt: skip

    def _run(self, resized: np.ndarray, colour: str) -> np.ndarray:
        """resized (h, w, 3) uint8 RGB -> the output, as it comes."""
        entry = self._session.get_inputs()[0]
        kind = TYPES.get(entry.type)
        if kind is None:
            raise ValueError(f"{self.path}: takes {entry.type}; export it with pictures in float32, float16 or uint8")
        x: np.ndarray = resized[..., ::-1] if colour == "bgr" else resized
        if kind is not np.uint8:
            x = x.astype(np.float32) / np.float32(self.about.divide)
            x = (x - np.array(self.about.mean, np.float32)) / np.array(self.about.std, np.float32)
        x = x if entry.shape[-1] == 3 else x.transpose(2, 0, 1)
        try:
            names = [self.about.output] if self.about.output else None
            outputs = self._session.run(names, {entry.name: np.ascontiguousarray(x[None], kind)})
        except Exception as error:  # onnxruntime's errors have no common class
            raise ValueError(f"{self.path}: does not run on a picture ({_line(error)})") from None
        return np.asarray(outputs[0])

    def _open(self) -> None:
        """Read the file and find out what it is, once. ImportError, ValueError: one line."""
        if self._session is not None:
            return
        session = self._start()
        shape = session.get_inputs()[0].shape
        if len(shape) != 4 or 3 not in (shape[1], shape[-1]):
            raise ValueError(f"{self.path}: its input {shape} takes no pictures of three channels; give a detector")
        said = session.get_modelmeta().custom_metadata_map
        height, width = shape[1:3] if shape[-1] == 3 else shape[2:]
        open_sides = self.about.size or _literal(said.get("imgsz"), [640, 640])[::-1]
        self._size = tuple(side if isinstance(side, int) else int(default)
                           for side, default in zip((width, height), open_sides, strict=True))  # type: ignore[assignment]
        self._session = session
        try:
            self._recognise(_literal(said.get("names"), None))
        except BaseException:
            self._session = None
            raise

    def _start(self) -> Any:
        try:
            import onnxruntime
        except ImportError:
            raise ImportError(f"{self.name}: needs onnxruntime: pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its errors come as exceptions; told once, by us
        # it looks at neither itself: workers that share a machine have told torch how much of it is theirs
        torch = sys.modules.get("torch")
        options.intra_op_num_threads = torch.get_num_threads() if torch else int(os.environ.get("OMP_NUM_THREADS") or 0)
        wanted = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider")
                  if one in onnxruntime.get_available_providers()]  # fmt: skip
        try:
            return onnxruntime.InferenceSession(os.fspath(self.path), options, providers=wanted)
        except Exception as error:
            raise ValueError(f"{self.path}: does not load as ONNX ({_line(error)}); export it again") from None

    def _recognise(self, names: Any) -> None:
        """Layout and categories, from a grey picture's output; ValueError where they stay open."""
        given = self.about.categories
        listed = list(names.values() if isinstance(names, dict) else names) if names else None
        classes = len(given) if given else len(listed) if listed else None
        grey = np.full((self._size[1], self._size[0], 3), 114, np.uint8)
        shape = self._run(grey, "rgb").shape
        layout = self.about.layout or recognise(shape, classes)
        if layout is None:
            raise ValueError(f"{self.path}: an output of shape {shape} is none that is known; say its layout "
                             f"({', '.join(LAYOUTS)}) and its categories in {self._beside()}")  # fmt: skip
        self._layout = LAYOUTS[layout]
        if len(shape) != self._layout.axes:
            raise ValueError(f"{self.path}: an output of shape {shape} is not laid out as {layout}, which has "
                             f"{self._layout.axes} axes; say another in {self._beside()}")  # fmt: skip
        if given:
            self._categories = given
        elif listed:
            ids = {name: i for i, name in COCO_THINGS.items()}
            if not set(listed) <= set(ids):
                strange = next(name for name in listed if name not in ids)
                raise ValueError(f"{self.path}: class {strange!r} is none of COCO's; say which ids its classes have in "
                                 f"your labels, in {self._beside()}: categories: {{1: {listed[0]}, ...}}")  # fmt: skip
            self._categories = {ids[name]: name for name in listed}
            if len(self._categories) != len(listed):
                raise ValueError(f"{self.path}: two of its classes have one name; list its categories in "
                                 f"{self._beside()}")  # fmt: skip
        else:
            self._categories = COCO_THINGS
            self.note = self.note or "classes taken for COCO's 80, which the file does not say"

    def _beside(self) -> Path:
        return Path(f"{self.path}.yaml")


def _literal(text: str | None, default: Any) -> Any:
    """Ultralytics writes Python literals into its exports' metadata."""
    try:
        return default if text is None else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return default


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]


def build(rest: str, weights: str | os.PathLike | None = None) -> OnnxModel:
    """rest: FILE.onnx."""
    if weights is not None:
        raise ValueError(f"onnx:{rest}: the file holds its weights; leave --model-weights out")
    if not rest:
        raise ValueError("onnx: name the file, as in onnx:FILE.onnx")
    return OnnxModel(rest)


def names() -> tuple[str, ...]:
    """None beforehand: any file."""
    return ()
