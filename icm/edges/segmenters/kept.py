"""Segment Anything's masks, kept on disk: another alpha, other thresholds of Canny, wider lines, without the model.

    DIR/masks.json          what made them: model, SHA-256 of its weights, thresholds, the lowest alpha
    DIR/PICTURE.npz         masks of one picture, packed, with their scores, and the SHA-256 of its pixels

Masks that are there are used; others are found, at the lowest alpha of the folder, and put there. Weights are loaded
when the first picture without masks comes, so that where all are there none are needed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icm.edges.segmenters.base import Found, Segmenter
from icm.edges.segmenters.sam import Sam

if TYPE_CHECKING:
    from icm.edges.sam.survivors import Survivors

SCALARS = ("width", "crops_nms", "small_region", "box_nms")


class Kept(Segmenter):
    """`sam`, asked only for masks that `folder` does not have.

    Raises ValueError, one line, for a folder of another model, other weights or thresholds (`check`), and for a picture
    that is not the one whose masks are kept.
    """

    scored = True

    def __init__(self, sam: Sam, folder: Path) -> None:
        self.sam, self.folder, self.name, self.notice = sam, folder, sam.name, sam.notice
        self._alpha: float | None = None

    def settings(self) -> dict[str, Any]:
        return self.sam.settings()

    def check(self, alphas: Sequence[float | None]) -> None:
        """Raises ValueError where the folder's masks cannot serve `alphas`; a new folder will be one for the lowest."""
        lowest = min(0.0 if alpha is None else alpha for alpha in alphas)
        record, now = self.folder / "masks.json", json.loads(json.dumps(self.settings()))
        if not record.exists():
            self._alpha = lowest
            return
        try:
            there = json.loads(record.read_text(encoding="utf-8"))
            before, self._alpha = dict(there["settings"]), float(there["alpha"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{record}: damaged; remove {self.folder} or name another folder to keep masks") from None
        changed = [
            f"{key} {before.get(key)} there, {now.get(key)} now"
            for key in {**before, **now}
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise ValueError(
                f"{self.folder}: keeps masks of other settings ({'; '.join(changed)}); name another folder"
            )
        if lowest < self._alpha:
            raise ValueError(
                f"{self.folder}: keeps masks above alpha {self._alpha:g}, none of {lowest:g}; raise --alpha, or name "
                "another folder"
            )

    def prepare(self) -> None:
        """Say in the folder what its masks are. The model waits."""
        if not (self.folder / "masks.json").exists():
            text = json.dumps({"settings": self.settings(), "alpha": self._alpha}, indent=1) + "\n"
            _write(self.folder / "masks.json", text.encode())

    def label_maps(self, picture: np.ndarray, name: str, alphas: Sequence[float | None]) -> list[np.ndarray]:
        (found,) = self.find([picture], [name], alphas)
        if isinstance(found, Exception):
            raise found
        return [labels for labels, _ in found]

    def find(
        self, pictures: Sequence[np.ndarray], names: Sequence[str], alphas: Sequence[float | None]
    ) -> list[list[Found] | Exception]:
        if self._alpha is None:
            self.check(alphas)
        assert self._alpha is not None
        kept: dict[int, Survivors | Exception] = {}
        for i, (picture, name) in enumerate(zip(pictures, names, strict=True)):
            try:
                if (masks := load(self._file(name), picture)) is not None:
                    kept[i] = masks
            except (ValueError, OSError) as error:
                kept[i] = error
        missing = [i for i in range(len(pictures)) if i not in kept]
        try:
            made = self.sam.survivors([pictures[i] for i in missing], self._alpha) if missing else []
        except MemoryError as error:
            if len(pictures) == 1:
                return [error]
            return [self.find([x], [name], alphas)[0] for x, name in zip(pictures, names, strict=True)]
        for i, masks in zip(missing, made, strict=True):
            save(self._file(names[i]), masks, pictures[i])
            kept[i] = masks
        return [self._found(kept[i], alphas) for i in range(len(pictures))]

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    @staticmethod
    def _found(masks: Survivors | Exception, alphas: Sequence[float | None]) -> list[Found] | Exception:
        if isinstance(masks, Exception):
            return masks
        chosen = [masks.select(0.0 if alpha is None else alpha) for alpha in alphas]
        return [Found(some.label_map(), len(some)) for some in chosen]


def save(path: Path, masks: Survivors, picture: np.ndarray) -> None:
    """Write the masks of `picture` (H, W, 3), whole or not at all; the same masks give the same bytes."""
    from icm.edges.sam.survivors import COLUMNS

    buffer = io.BytesIO()
    columns = {name: getattr(masks, name).cpu().numpy() for name in COLUMNS}
    scalars = json.dumps({name: getattr(masks, name) for name in SCALARS} | {"picture_sha256": _digest(picture)})
    np.savez_compressed(buffer, about=np.frombuffer(scalars.encode(), np.uint8), **columns)
    _write(path, buffer.getvalue())


def load(path: Path, picture: np.ndarray) -> Survivors | None:
    """The masks kept at `path`, None if there are none. Raises ValueError for those of another picture, or damaged."""
    import torch

    from icm.edges.sam.survivors import COLUMNS, Survivors

    try:
        with np.load(io.BytesIO(path.read_bytes())) as file:  # numpy leaves a damaged file open
            about = json.loads(file["about"].tobytes())
            columns: dict[str, Any] = {name: torch.from_numpy(file[name]) for name in COLUMNS}
        digest, scalars = about["picture_sha256"], {name: about[name] for name in SCALARS}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged masks ({' '.join(str(error).split())[:80]}); remove the file") from None
    if digest != _digest(picture):
        raise ValueError(f"{path}: keeps masks of another picture of this name; remove the file or name another folder")
    return Survivors(**scalars, **columns)


def _digest(picture: np.ndarray) -> str:
    return hashlib.sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
