"""Whether frozen streams decode on this machine to what they decoded to when they were frozen.

    FOLDER/frozen.json   name → what is expected of it
    FOLDER/*.vcm         the streams            FOLDER/*.safetensors   their weights, found by the hash in a header

An entry holds either "error", the name of the error that must be raised, or
    symbols   SHA-256 of what integers decide: y_hat of sa-icm-s, lic-s (of every section, or of every frame of changed
              tiles) and groups (of every part); the integers of a network's tensors; every integer that the entropy
              decoder gave for sa-icm and segpic. These must be equal
    pixels    of each frame its 4×4 cells (fewer in smaller pictures) in rows, the mean of R, G, B in each, rounded, in
              hexadecimal: synthesis is in floats, which other builds round otherwise, so each may differ by 1 of 255.
              Missing where pixels are not promised: latents beyond what training makes
and, if the stream needs them, "key" (name of a key file), "groups" (that are asked for) and "fill" (of the others).

A `same-build` stream (sa-icm, segpic) may also be refused with Desynchronised, since its tables follow from floats:
another build gives the same symbols or that error, never another picture.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from icm import bitstream
from icm.bitstream import Decoder, Header, Tables, read
from icm.groups.clips import is_clip
from pipelines.run.batch import one_line

LIST = "frozen.json"
CELLS = 4  # a side of the thumbnails
TOLERANCE = 1  # of 255

Row = dict[str, Any]


def expected(folder: Path) -> dict[str, Row]:
    """The entries of a folder. ValueError, one line, where it has none."""
    try:
        rows = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / LIST}: no list of frozen streams ({one_line(error)})") from None
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ValueError(f"{folder / LIST}: no list of frozen streams: a table of tables is wanted")
    return rows


def check(path: Path, row: Row) -> tuple[str, Row]:
    """("", what was found) where a stream is as frozen, else what differs, in one line. ImportError: what opens its
    locks is not installed."""
    found = look(path, row)
    return differs(row, found), found


def differs(row: Row, found: Row) -> str:
    """What of an entry a stream does not keep, or ""."""
    if "error" in row:
        what = f"{found['error']} ({found['message']})" if "error" in found else "a whole decoding"
        return "" if _is_a(found.get("error", ""), row["error"]) else f"gave {what}, not {row['error']}"
    if "error" in found:
        if row.get("same_build") and found["error"] == "Desynchronised":
            return ""
        return f"gave {found['error']}: {found['message']}"
    if found["symbols"] != row["symbols"]:
        return f"symbols {found['symbols'][:16]}, not {row['symbols'][:16]}"
    return _pixels_differ(row["pixels"], found["pixels"]) if "pixels" in row else ""


def _is_a(name: str, wanted: str) -> bool:
    """Whether an error of icm.bitstream is the wanted one, or a closer word for it."""
    kind, of = getattr(bitstream, name, None), getattr(bitstream, wanted, None)
    return name == wanted or (isinstance(kind, type) and isinstance(of, type) and issubclass(kind, of))


def _pixels_differ(wanted: list[str], found: list[str]) -> str:
    if [len(frame) for frame in wanted] != [len(frame) for frame in found]:
        return f"{len(found)} frames, or of another size than the {len(wanted)} frozen"
    for i, (a, b) in enumerate(zip(wanted, found, strict=True)):
        before, now = (np.frombuffer(bytes.fromhex(text), np.uint8).astype(int) for text in (a, b))
        error = np.abs(before - now).max()
        if error > TOLERANCE:
            return f"frame {i}: the mean of a cell is {error} of 255 away"
    return ""


def look(path: Path, row: Row) -> Row:
    """What a stream gives here: {"symbols", "pixels", "same_build"} or {"error", "message"}."""
    key = path.parent / str(row["key"]) if "key" in row else None
    try:
        with read(path, partial=True) as stream:
            header = stream.header
        codec = _codec(header.model, str(_weights(path.parent, header)))
        digest = hashlib.sha256()
        if header.kind == "groups" or is_clip(header):
            frames = _groups(codec, path, digest, key, row)
        else:
            _symbols(codec, path, digest)
            frames = [codec.decode(path)] if header.kind == "picture" else [f for f, _ in codec.decode_clip(path)]
        found: Row = {"symbols": digest.hexdigest(), "pixels": [thumbnail(frame).hex() for frame in frames]}
        return found | ({"same_build": True} if header.same_build else {})
    except ValueError as error:
        return {"error": type(error).__name__, "message": one_line(error).removeprefix(f"{path}: ")}


def thumbnail(frame: np.ndarray) -> bytes:
    """(H, W, 3) uint8 → means of cells, row by row, R, G, B of each."""
    height, width = frame.shape[:2]
    rows, cols = ([i * n // min(CELLS, n) for i in range(min(CELLS, n) + 1)] for n in (height, width))
    sums = np.add.reduceat(np.add.reduceat(frame.astype(np.int64), rows[:-1], 0), cols[:-1], 1)
    areas = np.diff(rows)[:, None] * np.diff(cols)
    return np.rint(sums / areas[..., None]).astype(np.uint8).tobytes()


# --- what integers decide --------------------------------------------------------------------------------------------
class Listening(Decoder):
    """A decoder whose integers are hashed as they come."""

    def __init__(self, payload: bytes, digest: Any) -> None:
        super().__init__(payload)
        self.digest = digest

    def code(self, tables: Tables, index: Any) -> np.ndarray:
        found = super().code(tables, index)
        self.digest.update(found.astype("<i4").tobytes())
        return found


def _symbols(codec: Any, path: Path, digest: Any) -> None:
    with read(path) as stream:
        if stream.header.kind == "network":
            for part in _tensors(path):
                digest.update(part.tobytes())
        elif stream.header.same_build:
            codec.read_symbols(stream, functools.partial(Listening, digest=digest))
        else:
            for y_hat in codec.latents(stream):
                digest.update(y_hat.numpy().astype("<f4").tobytes())


def _tensors(path: Path) -> Iterator[np.ndarray]:
    """Symbols and quantisers of every tensor of a network, in the order of the file."""
    from nerv.file import NetworkFile

    with NetworkFile(path) as file:
        for segment in range(len(file.counts)):
            for tensor in file.tensors(segment).values():
                for part in vars(tensor).values():
                    yield part.astype(part.dtype.newbyteorder("<"))


def _groups(codec: Any, path: Path, digest: Any, key: Path | None, row: Row) -> list[np.ndarray]:
    """The frames, or the picture, and y_hat as it reaches the synthesis of each part."""
    from icm.groups.lock import read_key

    def hear(module: Any, arguments: tuple[Any, ...]) -> None:
        digest.update(arguments[0].numpy().astype("<f4").tobytes())

    hook = codec.coder.model.g_s.register_forward_pre_hook(hear)
    try:
        keys = (read_key(key),) if key else ()
        told = {"groups": row.get("groups"), "fill": row.get("fill", "grey"), "keys": keys}
        with read(path) as stream:
            clip = stream.header.kind == "clip"
        return [frame for frame, _ in codec.decode_clip(path, **told)] if clip else [codec.decode(path, **told)]
    finally:
        hook.remove()


# --- codecs and their weights ----------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=8)
def _codec(model: str, weights: str) -> Any:
    """ValueError where this version knows no codec of that name."""
    import icm
    import nerv

    if model in nerv.CODECS:
        return nerv.CODECS[model](pictures=functools.partial(_picture, Path(weights)))
    if model not in icm.CODECS:
        raise ValueError(f"this version knows no codec {model}")
    return icm.CODECS[model](weights=weights)


def _picture(folder: Path, data: bytes) -> np.ndarray:
    """The background of a network."""
    with read(data) as stream:
        codec = _codec(stream.header.model, str(_weights(folder, stream.header)))
    picture: np.ndarray = codec.decode(data)
    return picture


def _weights(folder: Path, header: Header) -> Path:
    """The file whose hash a header names; else one of the codec's kind, which then says that it is another; of a
    network, which needs none, the folder."""
    from icm.codecs.networks import ALIASES

    if header.kind == "network":
        return folder
    arch, cards = ALIASES.get(header.model, header.model), _cards(folder)
    for path, _, sha256 in cards:
        if sha256.startswith(header.weights.hex()):
            return path
    for path, of, _ in cards:
        if of == arch:
            return path
    raise ValueError(f"{folder}: holds no weights of {header.model}")


@functools.lru_cache(maxsize=2)
def _cards(folder: Path) -> list[tuple[Path, str, str]]:
    """(path, architecture, SHA-256) of the weights in a folder."""
    from safetensors import SafetensorError, safe_open

    found = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
        except (SafetensorError, OSError):
            continue  # the streams that need them will say so
        found.append((path, about.get("arch", ""), about.get("sha256", "")))
    return found
