"""Seconds to encode and decode one picture, ours and peers', taking turns in one process on the same picture.

    python -m benchmarks [--picture FILE] [--codec sa-icm-s:25 ...] [--repeats 5] [--threads 2] [-o FILE.json]

Without --picture: a drawn texture of 512x768. CompressAI's mbt2018-mean (quality 4) joins with its published weights
where they are in torch's cache, else with random ones: its transforms cost the same, its entropy coder has less to do
than it would have (which flatters it), and its bytes mean nothing and are not shown. Medians of wall-clock seconds and
of processor seconds (all threads), the second for machines that are busy; one turn beforehand is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CODECS = ("sa-icm-s:25", "jpeg:30", "webp:30", "x265:37", "svtav1:50")


class CompressAI:
    """A network of CompressAI's behind the interface of our codecs; strings with their shape stand for a file."""

    def __init__(self, net: Any, name: str, trained: bool = False) -> None:
        self.net, self.trained = net, trained
        self.name = name + ("" if trained else " (random weights)")

    def encode(self, picture: np.ndarray) -> Any:
        """{"strings", "shape"} of (H, W, 3) uint8, padded to multiples of 64."""
        import torch

        x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        pad = (0, -x.shape[-1] % 64, 0, -x.shape[-2] % 64)
        with torch.inference_mode():
            return self.net.compress(torch.nn.functional.pad(x, pad, mode="replicate"))

    def decode(self, coded: Any) -> np.ndarray:
        """(H, W, 3) uint8, padding left on."""
        import torch

        with torch.inference_mode():
            x_hat = self.net.decompress(coded["strings"], coded["shape"])["x_hat"]
        return (x_hat[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()

    def size(self, coded: Any) -> int | None:
        """Bytes of the strings; None where the weights are random."""
        return sum(len(string[0]) for string in coded["strings"]) if self.trained else None


def of_the_zoo(model: str) -> CompressAI:
    """A model of CompressAI's zoo, quality 4; random where its weights are not in torch's cache."""
    import torch
    from compressai import zoo

    published, cache = model.replace("_", "-"), Path(torch.hub.get_dir()) / "checkpoints"
    trained = any(cache.glob(f"{published}-4-*.pth.tar"))  # nothing is fetched here
    torch.manual_seed(0)
    net = getattr(zoo, model)(4, pretrained=trained).eval()
    net.update(force=True)
    return CompressAI(net, f"compressai {published}:4", trained)


def texture(height: int = 512, width: int = 768) -> np.ndarray:
    """(H, W, 3) uint8: noise at six scales, about as hard to code as a photograph."""
    import cv2

    rng, total = np.random.default_rng(0), np.zeros((height, width, 3), np.float32)
    for octave in range(6):
        small = rng.normal(0, 1, (height >> octave or 1, width >> octave or 1, 3)).astype(np.float32)
        total += 1.7**octave * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 9 * total, 0, 255).astype(np.uint8)


def measure(codecs: dict[str, Any], picture: np.ndarray, repeats: int) -> list[dict[str, Any]]:
    """One row a codec; they take turns, so that a busy machine is busy for all of them."""
    times: dict[str, dict[str, list[float]]] = {name: {} for name in codecs}
    rows: dict[str, dict[str, Any]] = {}
    for repeat in range(repeats + 1):
        for name, codec in codecs.items():
            marks = [clocks()]
            coded = codec.encode(picture)
            marks.append(clocks())
            codec.decode(coded)
            marks.append(clocks())
            for what, start, end in zip(("encode", "decode"), marks, marks[1:], strict=False):
                for unit in start if repeat else ():
                    times[name].setdefault(f"{what}_{unit}", []).append(end[unit] - start[unit])
            size = len(coded) if isinstance(coded, bytes) else codec.size(coded)
            rate = None if size is None else 8 * size / (picture.shape[0] * picture.shape[1])
            rows[name] = {"codec": name, "bytes": size, "rate_bpp": rate}
    for name, row in rows.items():
        row |= {what: statistics.median(seconds) for what, seconds in times[name].items()}
    return list(rows.values())


def clocks() -> dict[str, float]:
    """Now, in wall-clock and in processor seconds of this process."""
    return {"s": time.perf_counter(), "cpu_s": time.process_time()}


def main() -> int:
    """Print the table; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--picture", type=Path, help="what to code (default: a drawn texture of 512x768)")
    parser.add_argument("--codec", nargs="+", default=list(CODECS), help="NAME:QUALITY, any number of them")
    parser.add_argument("--weights", help="weights of our codecs, where they are not the shipped ones")
    parser.add_argument("--repeats", type=int, default=5, help="counted turns of each (default 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="torch's threads (default: all cores)")
    parser.add_argument("-o", dest="output", type=Path, help="write the rows and the machine as JSON")
    arguments = parser.parse_args()

    import torch

    from pipelines import codecs
    from pipelines.media import read_picture
    from pipelines.run.atomic import write_text
    from pipelines.run.provenance import provenance

    torch.set_num_threads(arguments.threads)
    picture = read_picture(arguments.picture) if arguments.picture else texture()
    contestants = {spec: codecs.parse(spec, weights=arguments.weights) for spec in arguments.codec}
    peer = of_the_zoo("mbt2018_mean")
    contestants[peer.name] = peer
    rows = measure(contestants, picture, arguments.repeats)
    print(f"{picture.shape[0]}x{picture.shape[1]}, {arguments.threads} threads, median of {arguments.repeats}")
    for row in rows:
        rate = "" if row["rate_bpp"] is None else f"{row['rate_bpp']:.3f} bpp"
        shown = [f"{what} {row[f'{what}_s']:7.3f} s ({row[f'{what}_cpu_s']:7.3f} cpu)" for what in ("encode", "decode")]
        print(f"{row['codec']:<44} {'   '.join(shown)}   {rate}")
    if arguments.output:
        found = {"rows": rows, "threads": arguments.threads, "shape": picture.shape, **provenance()}
        write_text(arguments.output, json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
