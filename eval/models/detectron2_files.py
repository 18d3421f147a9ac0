"""Weights of Detectron2's models: fetched once, checked, and read without running what is in them.

The zoo publishes no SHA-256. What there is: the file's name ends in the first six digits of its MD5, which finds a
broken download; and the SHA-256 of the first download, written beside the cached file as `sha256sum` does (FILE.sha256)
and compared at every later reading: trust on first use. PINNED holds the hashes that somebody has compared.

A .pkl is a pickle, a program for the machine that reads it. `read_pickle` runs none of it: dictionaries, lists,
texts, numbers and numpy's arrays are built here from their bytes, anything else is refused by name.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import sys
import urllib.request
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

PINNED: dict[str, str] = {}
"""file name -> SHA-256, of files whose hash was compared with an independent source; none is known today"""

DIGITS = re.compile(r"_([0-9a-f]{6})\.pkl$")  # the MD5's prefix, as Detectron2's MODEL_ZOO.md says
PLAIN = re.compile(r"[<>|=]?([biuf][1248]|b1|\?)$")


def cached(url: str) -> Path:
    """Where the file of that address lies, or will: VCM_MODELS or ~/.cache/vcm, then the address's own folders."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vcm"
    folder = Path(os.environ.get("VCM_MODELS") or cache)
    return folder / url.split("://", 1)[-1].split("/", 1)[-1]  # detectron2/COCO-Detection/…/model_final_280758.pkl


def fetched(name: str, url: str) -> Path:
    """The cached file, fetched when it is not there; OSError or ValueError in one line. name: for the message."""
    path = cached(url)
    if not path.is_file():
        try:
            _download(url, path)
        except OSError as error:  # URLError and timeouts are OSErrors
            raise OSError(f"{name}: weights not fetched from {url} ({' '.join(str(error).split())}); fetch that file "
                          f"elsewhere and put it at {path}, or name it with --model-weights FILE") from None
    _trust(path, url)
    return path


def _download(url: str, path: Path) -> None:
    """The whole file appears, or nothing; a bar on stderr where that is a terminal."""
    from tqdm import tqdm

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with urllib.request.urlopen(url, timeout=30) as source, open(temporary, "wb") as out:
            size = int(source.headers.get("Content-Length") or 0)
            with tqdm(total=size or None, unit="B", unit_scale=True, desc=path.name, disable=not sys.stderr.isatty(),
                      delay=2) as bar:  # fmt: skip
                while block := source.read(1 << 20):
                    out.write(block)
                    bar.update(len(block))
            if size and out.tell() != size:
                raise OSError(f"{out.tell()} of {size} bytes came")
            out.flush()
            os.fsync(out.fileno())
        digits = DIGITS.search(path.name)
        if digits and not (md5 := _digest(temporary, "md5")).startswith(digits[1]):
            raise OSError(f"what came is not {path.name}: its MD5 begins with {md5[:6]}")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _trust(path: Path, url: str) -> None:
    """Compares with the pinned hash, or the one written at first use, or writes it."""
    found, note = _digest(path, "sha256"), path.with_name(f"{path.name}.sha256")
    known = PINNED.get(path.name)
    if known is None and note.is_file():
        known = note.read_text(encoding="utf-8").split(" ")[0].strip()
    if known is None:
        temporary = note.with_name(f".{note.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(f"{found}  {path.name}\n", encoding="utf-8")
            temporary.replace(note)
        except OSError:  # a cache that cannot be written to, such as a shared one: nothing to compare with next time
            temporary.unlink(missing_ok=True)
    elif known != found:
        raise ValueError(f"{path}: changed since it was first used (SHA-256 {found[:12]}…, not {known[:12]}…); delete "
                         f"it and {note.name} to fetch it again from {url}")  # fmt: skip


def _digest(path: Path, kind: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


class _Dtype:
    """Stands for numpy.dtype: plain numbers only, of a byte order. Nothing of numpy's own unpickling is run."""

    def __init__(self, code: str, *_: Any) -> None:
        if not PLAIN.match(str(code)):
            raise pickle.UnpicklingError(f"an array of {code!r}")
        self.dtype = np.dtype(str(code))

    def __setstate__(self, state: tuple) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands for numpy's _reconstruct: its state is version, shape, dtype, column-major, bytes."""

    array: np.ndarray

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, data = state
        data = data.encode("latin1") if isinstance(data, str) else data
        flat = np.frombuffer(data, kind.dtype)
        self.array = flat.reshape(shape, order="F" if by_columns else "C")


class _Scalar:
    """Stands for numpy's scalar."""

    def __init__(self, kind: _Dtype, data: bytes | str) -> None:
        self.array = np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, kind.dtype)[0]

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a scalar with a state")


class _Bytes:
    """Stands for _codecs.encode and bytes(), by which Python 2's protocols carry bytes, and none."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> bytes:  # type: ignore[misc]
        return str(text).encode("latin1")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("bytes with a state")


STANDS_FOR: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype, ("numpy", "ndarray"): "numpy.ndarray", ("_codecs", "encode"): _Bytes,
    ("__builtin__", "bytes"): _Bytes, ("collections", "OrderedDict"): OrderedDict,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
}  # fmt: skip


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return STANDS_FOR[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it wants {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it wants persistent objects")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.array if isinstance(value, _Array | _Scalar) else value


def read_pickle(path: str | os.PathLike) -> Any:
    """Dictionaries, lists, texts, numbers and arrays; ValueError, one line, for anything else in the file."""
    try:
        with open(path, "rb") as file:
            return _plain(_Restricted(file, encoding="latin1").load())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such weights; name a .pkl, .pth or .safetensors file") from None
    except Exception as error:  # a broken pickle raises whatever it meets
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"{path}: not read: a pickle may hold numbers and numpy arrays alone ({reason}); if you trust "
                         "it, save its tensors as .safetensors") from None


def read_checkpoint(path: str | os.PathLike) -> tuple[dict[str, Any], str | None]:
    """name -> tensor, and where names must be matched by likeness the file's author ("Caffe2" or another), else None.

    Reads .safetensors, .pkl (the zoo's, Detectron's, of numpy arrays) and .pth (torch's, tensors only).
    """
    import torch

    from eval.models.official import _state
    from eval.models.weights import read

    if str(path).endswith(".safetensors"):
        return read(path), None
    data = read_pickle(path) if str(path).endswith(".pkl") else _state(path)
    if not isinstance(data, dict):
        raise ValueError(f"{path}: holds no state dict")
    author = None
    if isinstance(data.get("model"), dict):  # the zoo's format, and that of Detectron2's own checkpoints
        author = str(data.get("__author__")) if data.get("matching_heuristics") else None
        data = data["model"]
    elif str(path).endswith(".pkl"):  # Caffe2's: Detectron 1 and ImageNet models
        data, author = data.get("blobs", data), "Caffe2"
    tensors = {}
    for key, value in data.items():
        if isinstance(value, np.ndarray | np.generic):
            value = torch.from_numpy(np.array(value, value.dtype.newbyteorder("=")))
        if isinstance(value, torch.Tensor) and not str(key).endswith("_momentum"):
            tensors[str(key)] = value
    return tensors, author
