"""What decoding takes beside what the file declares: peak memory and processor time, each file in a fresh process.

    python -m benchmarks.decode_limits [-o runs/decode_limits] [--only sa-icm-s groups …] [--large]

Files of several sizes are written into the folder (once; of codecs without shipped weights with random ones, which
code more than trained ones do). Each is decoded in a process of its own, frame after frame, none kept. Memory is the
peak of the resident set less what it was once everything was imported and the weights were loaded. The promise: it is
at most what the header declares and 256 MiB. Rows are kept in rows.jsonl; a file that has one is not decoded again.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ALLOWED = 256 << 20  # bytes beyond what is declared
SIZES = {"sa-icm-s": [(256, 256), (768, 1024), (2048, 2048), (1, 20000)], "clip": [(256, 256), (432, 768)],
         "changed": [(256, 256), (1080, 1920)], "map": [(768, 1024), (2048, 2048)], "groups": [(256, 256), (512, 768)],
         "sa-icm": [(256, 256), (512, 768)], "segpic": [(256, 256), (512, 768)],
         "hnerv": [(256, 256), (640, 1280)], "nerv": [(640, 1280)], "sa-nerv": [(640, 1280)]}  # fmt: skip
LARGE = {"sa-icm-s": [(4000, 6000)], "groups": [(1024, 1536)], "sa-icm": [(1024, 1024)], "segpic": [(1024, 1024)],
         "sa-nerv": [(1080, 1920)]}  # fmt: skip
FRAMES = 4
OWN_WEIGHTS = {"groups": "groups", "sa-icm": "tcm", "segpic": "segpic"}  # codec → architecture without shipped weights


def picture(height: int, width: int, shift: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: waves and noise."""
    rng = np.random.default_rng([height, width])
    y, x = np.ogrid[:height, :width]
    waves = np.stack([np.sin(x / a + shift) + np.cos(y / b) for a, b in ((37, 53), (71, 29), (23, 91))], -1)
    return (125 + 50 * waves + rng.normal(0, 8, waves.shape)).clip(0, 255).astype(np.uint8)


def weights_of(codec: str, folder: Path) -> Path | None:
    """Random weights at the architecture's default size, made once; None where weights ship."""
    if codec not in OWN_WEIGHTS:
        return None
    import torch

    import icm

    path = folder / f"{codec}.safetensors"
    if not path.is_file():
        torch.manual_seed(0)
        network = icm.build(OWN_WEIGHTS[codec]).eval()
        if codec == "groups":
            network.use_integers()
        network.export(path)
    return path


def codec_for(kind: str, folder: Path) -> Any:
    """The codec that decodes files of a kind."""
    if kind in ("hnerv", "nerv", "sa-nerv"):
        from nerv.codec import NetworkCodec

        return NetworkCodec(kind)
    import icm

    name = kind if kind in icm.CODECS else "sa-icm-s"
    weights = weights_of(name, folder)
    return icm.CODECS[name](**({"weights": weights} if weights else {}), **({"refresh": 1} if kind == "clip" else {}))


def write_network(kind: str, height: int, width: int) -> bytes:
    """A network of 0.75 M numbers and a few frames, its weights random."""
    from icm.bitstream import Times
    from nerv.coding.tensors import Stepped
    from nerv.file import names, shape_of, write_networks
    from nerv.sizes import sized

    architecture, random, tensors = sized(kind, height, width, FRAMES, 750_000), np.random.default_rng(0), {}
    for name in names(architecture):
        shape = shape_of(architecture, name, FRAMES)
        along = name in architecture.embeddings()
        q = np.rint(random.laplace(0, 6, shape)).astype(np.int32)
        rows = int(np.prod(shape[:-1])) if along else shape[0]
        tensors[name] = Stepped(q, np.full(rows, -48, np.int32), np.zeros(q.size // rows, np.int32))
    return write_networks(kind, architecture, [(FRAMES, tensors)], Times.constant(FRAMES, 25), size=(width, height))


def write_file(kind: str, height: int, width: int, folder: Path) -> bytes:
    """A file of that kind and size."""
    if kind in ("hnerv", "nerv", "sa-nerv"):
        return write_network(kind, height, width)
    codec, original = codec_for(kind, folder), picture(height, width)
    if kind in ("clip", "changed"):
        frames = ((np.roll(original, 3 * i, 1) if kind == "clip" else _moved(original, i), i) for i in range(FRAMES))
        data: bytes = codec.encode_clip(frames, Fraction(1, 25))
    elif kind == "map":
        from icm.quality_map import QualityMap, Roi

        cells = np.random.default_rng(0).integers(0, 3, (-(-height // 16), -(-width // 16)))
        data = codec.encode(original, roi=QualityMap(Roi(16, 20), cells))
    elif kind == "groups":
        from icm.groups import from_labels

        labels = np.random.default_rng(0).integers(0, 4, (-(-height // 16), -(-width // 16)))  # scattered: the worst
        data = codec.encode(original, from_labels(labels.repeat(16, 0).repeat(16, 1)[:height, :width]))
    else:
        data = codec.encode(original)
    return data


def _moved(original: np.ndarray, i: int) -> np.ndarray:
    """A square that wanders over the picture."""
    frame, side = original.copy(), min(original.shape[:2]) // 4
    frame[20 * i : 20 * i + side, 10 * i : 10 * i + side] = 255 - frame[20 * i : 20 * i + side, 10 * i : 10 * i + side]
    return frame


def _frames(kind: str, codec: Any, data: bytes) -> Iterator[np.ndarray]:
    if kind == "groups" or not hasattr(codec, "decode_clip"):
        yield codec.decode(data)
    else:
        yield from (frame for frame, _ in codec.decode_clip(data))


def _peak() -> int:
    """Bytes: the high-water mark of the resident set."""
    unit = 1 if sys.platform == "darwin" else 1024
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    except OSError:
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forget_peak() -> None:
    """The high-water mark back to what is resident now, where the system can; else the peak so far is the base."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass


def decode(kind: str, path: Path, folder: Path) -> dict[str, Any]:
    """Of this process, which must be fresh."""
    from icm.bitstream import read

    data, codec = path.read_bytes(), codec_for(kind, folder)
    with read(data) as stream:
        declared, header = stream.header.memory, stream.header
    gc.collect()
    _forget_peak()
    before, start, count = _peak(), time.process_time(), 0
    for frame in _frames(kind, codec, data):
        count += 1
        del frame
    seconds = time.process_time() - start
    taken = _peak() - before
    megapixels = count * header.width * header.height / 1e6
    return {"kind": kind, "width": header.width, "height": header.height, "frames": count, "bytes": len(data),
            "declared_mib": declared / 2**20, "taken_mib": taken / 2**20, "kept": taken <= declared + ALLOWED,
            "seconds": seconds, "s_per_megapixel": seconds / megapixels}  # fmt: skip


def _in_another(command: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.decode_limits", *command], check=True)


def main() -> int:
    """Write, decode, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, default=Path("runs/decode_limits"))
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES), metavar="KIND")
    parser.add_argument("--large", action="store_true", help="larger files too")
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)  # of the processes that this one starts
    arguments = parser.parse_args()
    arguments.o.mkdir(parents=True, exist_ok=True)
    rows_path = arguments.o / "rows.jsonl"
    if arguments.step:
        step, kind, height, width = arguments.step
        path = arguments.o / f"{kind}-{height}x{width}.vcm"
        steps: dict[str, Callable[[], Any]] = {
            "write": lambda: path.write_bytes(write_file(kind, int(height), int(width), arguments.o)),
            "decode": lambda: rows_path.open("a").write(json.dumps(decode(kind, path, arguments.o)) + "\n"),
        }
        steps[step]()
        return 0
    lines = rows_path.read_text().splitlines() if rows_path.is_file() else []
    known = {(row["kind"], row["height"], row["width"]) for row in map(json.loads, lines)}
    for kind in arguments.only:
        for height, width in SIZES[kind] + (LARGE.get(kind, []) if arguments.large else []):
            if (kind, height, width) not in known:
                for step in ("write", "decode"):
                    _in_another(["-o", str(arguments.o), "--step", step, kind, str(height), str(width)])
    print("kind      size         frames   declared MiB   taken MiB   within   s   s/megapixel")
    broken = 0
    for row in map(json.loads, rows_path.read_text().splitlines()):
        broken += not row["kept"]
        print(f"{row['kind']:<9} {row['width']:>5}x{row['height']:<6} {row['frames']:>6} {row['declared_mib']:>14.1f} "
              f"{row['taken_mib']:>11.1f}   {'yes' if row['kept'] else 'NO':<6} {row['seconds']:>6.2f} "
              f"{row['s_per_megapixel']:>8.2f}")  # fmt: skip
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
