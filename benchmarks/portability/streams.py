"""The streams that every cell decodes: pictures, a clip of changed tiles, groups, two video networks.

    folder: manifest.json {file: {"codec", "weights"}}, files, weights that no release ships

Pictures are cut to SIDE pixels from their middle. `groups` has no shipped weights: random ones of a small network,
whose symbols are as varied as trained ones. The networks are fitted for a few steps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 256
FRAMES = 12


def middle(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Its middle, `side` pixels or what there is."""
    top, left = (max(0, (n - side) // 2) for n in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + side, left : left + side])


def moving(picture: np.ndarray, frames: int = FRAMES) -> list[np.ndarray]:
    """A static camera before which a patch moves."""
    clip, side = [], picture.shape[0] // 4
    for i in range(frames):
        frame, left = picture.copy(), i * (picture.shape[1] - side) // frames
        frame[side : 2 * side, left : left + side] = picture[-side:, -side:]
        clip.append(frame)
    return clip


def group_weights(path: Path) -> Path:
    """Random ones."""
    from tests.icm.groups.conftest import tiny_network

    model = tiny_network()
    model.use_integers()
    model.export(path)
    return path


def quadrants(picture: np.ndarray) -> Any:
    """A mask of a person, a car and the rest."""
    from icm.groups import from_labels

    labels = np.zeros(picture.shape[:2], np.int64)
    height, width = labels.shape
    labels[height // 8 : height // 2, width // 8 : width // 2] = 1
    labels[height // 3 :, width // 2 : -width // 8] = 2
    return from_labels(labels, {1: "person", 2: "car"})


def network(frames: Sequence[np.ndarray], codec: str, path: Path, steps: int) -> None:
    """A fitted one, by the command that users have."""
    import av

    from pipelines.cli import main

    clip = path.with_suffix(".mkv")
    with av.open(str(clip), "w") as out:
        stream = out.add_stream("ffv1", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(stream.encode())
    if main(["encode", str(clip), "-o", str(path), "--codec", f"{codec}:120k", "--steps", str(steps)]):
        raise SystemExit(f"{path}: not fitted")


def make(folder: Path, pictures: Sequence[np.ndarray], side: int = SIDE, steps: int = 20) -> None:
    """Every stream into the folder, manifest.json last. side: of the pictures of the clips; steps: of the fits."""
    from icm.codecs.groups.codec import GroupsCodec
    from icm.codecs.picture import PictureCodec

    folder.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, dict[str, str | None]] = {}

    def keep(name: str, codec: str, data: bytes, weights: str | None = None) -> None:
        (folder / name).write_bytes(data)
        manifest[name] = {"codec": codec, "weights": weights}

    weights = group_weights(folder / "groups.safetensors")
    groups = GroupsCodec("groups", 40, weights=weights)
    for i, picture in enumerate(pictures):
        quality = (10, 30, 60, 95)[i % 4]
        for name in ("sa-icm-s", "lic-s"):
            keep(f"{name}-{i}.vcm", name, PictureCodec(name, quality).encode(picture))
        keep(f"groups-{i}.vcm", "groups", groups.encode(picture, quadrants(picture)), weights.name)
    square = [picture for picture in pictures if picture.shape[:2] == (side, side)]
    for i, picture in enumerate(square[:6]):
        frames = [(frame, j) for j, frame in enumerate(moving(picture))]
        clip = PictureCodec("sa-icm-s", 25).encode_clip(frames, Fraction(1, 10))
        keep(f"clip-{i}.vcm", "clip of changed tiles", clip)
    for codec in ("sa-nerv", "hnerv") if steps else ():  # 120,000 parameters: hnerv has no smaller ones for SIDE
        network(moving(square[0]), codec, folder / f"{codec}.vcm", steps)
        manifest[f"{codec}.vcm"] = {"codec": codec, "weights": None}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
