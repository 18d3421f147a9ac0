"""What a task model found, as it is kept on disk: small, in the formats of COCO's tools, read back a picture at a time.

    prediction ─keep─▶ Kept ─Writer─▶ MODEL.json                      COCO results: boxes, masks (RLE), keypoints
                                      MODEL.panoptic.json + folder    COCO panoptic results: id = R + 256 G + 65536 B
                                      MODEL.semantic/ITEM.png         16-bit category ids, 65535 where void

Figures come from what is kept, never from what the model said before rounding: so those of a run that goes on are
those of a run that was never stopped. Memory holds one picture's findings.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from eval.datasets import Item
from eval.metrics import coco_results
from pipelines.run.atomic import replacing, write_bytes

VOID = 65535  # of semantic maps on disk; -1 in memory


@dataclass(frozen=True)
class Kept:
    """One picture's findings. rows: of COCO's results; panoptic, semantic: PNG."""

    rows: list[dict[str, Any]] | None = None
    panoptic: bytes | None = None
    segments: list[dict[str, Any]] = field(default_factory=list)
    semantic: bytes | None = None

    def prediction(self) -> dict[str, Any]:
        """What evaluators take: "rows", "panoptic" and "segments", "semantic", as far as the model gives them."""
        found: dict[str, Any] = {} if self.rows is None else {"rows": self.rows}
        if self.panoptic is not None:
            found |= {"panoptic": _ids(self.panoptic), "segments": self.segments}
        if self.semantic is not None:
            values = _open(self.semantic).astype(np.int32)
            found["semantic"] = np.where(values == VOID, -1, values)
        return found


def keep(item_id: int, prediction: Mapping[str, Any]) -> Kept:
    """A model's prediction of one picture (`eval.models`) in its small form."""
    rows = coco_results(item_id, prediction) if "boxes" in prediction else None
    panoptic = semantic = None
    segments: list[dict[str, Any]] = []
    if "panoptic" in prediction:
        ids = np.asarray(prediction["panoptic"]).astype(np.uint32)
        panoptic = _png(np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8))
        segments = [{"id": int(row["id"]), "category_id": int(row["category_id"]), "isthing": bool(row["isthing"])}
                    for row in prediction["segments"]]  # fmt: skip
    if "semantic" in prediction:
        semantic = _png(np.asarray(prediction["semantic"]).astype(np.uint16))  # -1 becomes 65535
    return Kept(rows, panoptic, segments, semantic)


def file_name(model: str) -> str:
    """The model's name in names of files."""
    return model.replace("/", "-").replace("\\", "-")


class Writer:
    """Predictions of one model on one point; the JSON files appear when all is written."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder, self.name = folder, file_name(model)
        for kind in ("panoptic", "semantic"):
            shutil.rmtree(folder / f"{self.name}.{kind}", ignore_errors=True)
        for suffix in ("json", "panoptic.json"):
            (folder / f"{self.name}.{suffix}").unlink(missing_ok=True)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Writer:
        self._rows = _List(self._stack, self.folder / f"{self.name}.json")
        self._panoptic = _List(self._stack, self.folder / f"{self.name}.panoptic.json", '{"annotations": [', "]}")
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self._rows.end()
            self._panoptic.end()
        self._stack.__exit__(*error)

    def add(self, item: Item, kept: Kept) -> None:
        """Write one picture's findings down; pictures come in the data set's order."""
        if kept.rows is not None:
            self._rows.extend(kept.rows)
        if kept.panoptic is not None:
            name = f"{item.id}.png"
            write_bytes(self.folder / f"{self.name}.panoptic" / name, kept.panoptic)
            self._panoptic.extend([{"image_id": item.id, "file_name": name, "segments_info": kept.segments}])
        if kept.semantic is not None:
            write_bytes(self.folder / f"{self.name}.semantic" / f"{item.id}.png", kept.semantic)


def read(folder: Path, model: str, items: Iterable[Item]) -> Iterator[tuple[Item, Kept]]:
    """The findings of these pictures, which are all that were written and in that order, one at a time."""
    name = file_name(model)
    rows, segments = _Lines(folder / f"{name}.json"), _Lines(folder / f"{name}.panoptic.json")
    panoptic, semantic = folder / f"{name}.panoptic", folder / f"{name}.semantic"
    for item in items:
        png = f"{item.id}.png"
        yield item, Kept(
            rows.of(item.id) if not rows.absent else None,
            (panoptic / png).read_bytes() if panoptic.is_dir() else None,
            [segment for row in segments.of(item.id) for segment in row["segments_info"]],
            (semantic / png).read_bytes() if semantic.is_dir() else None,
        )


class _List:
    """A JSON list, one entry a line; there is a file once `extend` was called."""

    def __init__(self, stack: contextlib.ExitStack, path: Path, before: str = "[", after: str = "]") -> None:
        self.path, self.before, self.after, self._stack = path, before, after, stack
        self._file: IO[str] | None = None
        self._count = 0

    def extend(self, entries: list[dict[str, Any]]) -> None:
        if self._file is None:
            temporary = self._stack.enter_context(replacing(self.path))
            self._file = self._stack.enter_context(temporary.open("w", encoding="utf-8"))
            self._file.write(self.before)
        for entry in entries:
            self._file.write(("\n" if self._count == 0 else ",\n") + json.dumps(entry, separators=(",", ":")))
            self._count += 1

    def end(self) -> None:
        if self._file is not None:
            self._file.write("\n" + self.after)


class _Lines:
    """Entries of such a file, by picture, in the order written."""

    def __init__(self, path: Path) -> None:
        self.absent = not path.is_file()
        self._entries = iter(()) if self.absent else _entries(path)
        self._next = next(self._entries, None)

    def of(self, item_id: int) -> list[dict[str, Any]]:
        found = []
        while self._next is not None and self._next["image_id"] == item_id:
            found.append(self._next)
            self._next = next(self._entries, None)
        return found


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        next(file)
        for line in file:
            if line.startswith("{"):
                yield json.loads(line.rstrip("\n,"))


def _png(values: np.ndarray) -> bytes:
    import cv2

    done, data = cv2.imencode(".png", values[..., ::-1] if values.ndim == 3 else values)  # OpenCV has BGR
    assert done
    return bytes(data)


def _open(data: bytes) -> np.ndarray:
    import cv2

    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def _ids(data: bytes) -> np.ndarray:
    b, g, r = np.moveaxis(_open(data).astype(np.int32), -1, 0)
    return r + 256 * g + 65536 * b
