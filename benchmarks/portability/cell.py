"""Decode every stream of a folder in this process, in each mode: what symbols come out, what pixels.

    python -m benchmarks.portability.cell FOLDER [--modes plain autocast ...] [--make]

Imports nothing that decoding does not need, so that any version of torch can run it. The kernels are reached through
`conv2d` and `linear`, which every prior and every synthesis calls: a mode is a way of calling these.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from icm.bitstream import Decoder, read

MODES = ("plain", "batch", "channels_last", "rows_first", "no-onednn", "autocast", "medium", "bf16", "cuda")
BATCH, OF = 8, 5


@contextmanager
def kernels(call: Callable[..., Any]) -> Iterator[None]:
    """`call(function, input, weight, bias, …)` in the place of conv2d and linear."""
    before = F.conv2d, F.linear
    F.conv2d = lambda *a, **k: call(before[0], *a, **k)
    F.linear = lambda *a, **k: call(before[1], *a, **k)  # type: ignore[assignment]
    try:
        yield
    finally:
        F.conv2d, F.linear = before


def in_a_batch(function: Any, x: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
    """As the sixth of eight."""
    out = function(x.repeat(BATCH, *[1] * (x.ndim - 1)), *rest, **named)
    return out[OF * len(x) : (OF + 1) * len(x)]


def laid_out(memory_format: torch.memory_format) -> Callable[..., torch.Tensor]:
    def call(function: Any, x: torch.Tensor, weight: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        if weight.ndim == 4:
            x, weight = x.contiguous(memory_format=memory_format), weight.contiguous(memory_format=memory_format)
        return function(x, weight, *rest, **named)

    return call


def on_the_gpu(function: Any, *given: Any, **named: Any) -> torch.Tensor:
    moved = [part.cuda() if isinstance(part, torch.Tensor) else part for part in given]
    return function(*moved, **{k: v.cuda() if isinstance(v, torch.Tensor) else v for k, v in named.items()}).cpu()


@contextmanager
def mode(name: str) -> Iterator[None]:
    """What a caller, or another machine, could have set around a decode; all as before at the end."""
    if name not in MODES:
        raise ValueError(f"unknown mode {name}; known: {', '.join(MODES)}")
    with contextlib.ExitStack() as stack:
        if name == "batch":
            stack.enter_context(kernels(in_a_batch))
        elif name in ("channels_last", "rows_first"):
            last = torch.channels_last if name == "channels_last" else torch.contiguous_format
            stack.enter_context(kernels(laid_out(last)))
        elif name == "cuda":
            stack.enter_context(kernels(on_the_gpu))
        elif name == "autocast":
            stack.enter_context(torch.autocast("cpu", torch.bfloat16))
        elif name == "no-onednn":
            stack.callback(setattr, torch.backends.mkldnn, "enabled", torch.backends.mkldnn.enabled)
            torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
        elif name == "medium":
            stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
            torch.set_float32_matmul_precision("medium")
        elif name == "bf16":
            for part in (torch.backends.mkldnn.conv, torch.backends.mkldnn.matmul):  # type: ignore[attr-defined]
                stack.callback(setattr, part, "fp32_precision", part.fp32_precision)
                part.fp32_precision = "bf16"
        yield


@contextmanager
def overheard(digest: Any) -> Iterator[None]:
    """Hash the tables that every symbol is decoded with, and the symbols."""
    plain = Decoder.code

    def code(self: Decoder, tables: Any, index: Any) -> np.ndarray:
        symbols = plain(self, tables, index)
        digest.update(np.asarray(index).astype("<i4").tobytes())
        digest.update(symbols.astype("<i4").tobytes())
        return symbols

    Decoder.code = code  # type: ignore[method-assign]
    try:
        yield
    finally:
        Decoder.code = plain  # type: ignore[method-assign]


def decode(path: Path, weights: str | None) -> Iterator[np.ndarray]:
    """Every frame, (H, W, 3) uint8."""
    import icm
    import nerv

    with read(path) as stream:
        kind, model = stream.header.kind, stream.header.model
    if kind == "network":
        with nerv.open(path) as video:
            yield from (video[i] for i in range(len(video)))
        return
    codec = icm.CODECS[model](**({"weights": weights} if weights else {}))
    if kind == "clip":
        yield from (frame for frame, _ in codec.decode_clip(path))
    else:
        yield codec.decode(path)


def outcome(path: Path, weights: str | None, reference: Path, make: bool) -> dict[str, Any]:
    """{"symbols": hash, "differ": samples, "most": largest difference, "samples"}, or {"error"}."""
    digest = hashlib.sha256()
    try:
        with overheard(digest):
            pixels = np.stack(list(decode(path, weights)))
    except Exception as error:  # whatever it is, it is a cell that failed, and the other streams go on
        return {"error": f"{type(error).__name__}: {error}"}
    if make:
        np.save(reference, pixels)
    apart = np.abs(pixels.astype(np.int16) - np.load(reference).astype(np.int16))
    found = {"differ": int((apart > 0).sum()), "most": int(apart.max()), "samples": int(apart.size)}
    return {"symbols": digest.hexdigest(), **found}


def run(folder: Path, make: bool = False) -> dict[str, dict[str, Any]]:
    """Of every stream in manifest.json ({file: {"codec", "weights"}}), in the setting of this process."""
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {}
    for name, about in manifest.items():
        weights = str(folder / about["weights"]) if about["weights"] else None
        found[name] = outcome(folder / name, weights, (folder / name).with_suffix(".npy"), make)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--modes", nargs="+", default=["plain"], choices=MODES)
    parser.add_argument("--make", action="store_true", help="write the pixels that the other cells are compared with")
    arguments = parser.parse_args(argv)
    for name in arguments.modes:
        with mode(name):
            found = run(arguments.folder, arguments.make)
        print(json.dumps({"torch": torch.__version__, "mode": name, "streams": found}), flush=True)


if __name__ == "__main__":
    main()
