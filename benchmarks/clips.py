"""A static camera: every frame whole, changed tiles, and x265 at the bytes of the changed tiles.

    python -m benchmarks.clips -o runs/clips [CLIP] [--frames 300] [--every 1] [--quality 10 20 30 45] [--refresh 128]

Bytes are those of the files; PSNR is the mean over frames; AP50 is of persons, FastestDet's on what was decoded from
the files against FastestDet's own on the uncompressed frames (pseudo-labels: how much a codec changes what it sees).
x265 is medium with its own groups of pictures, at the best quantiser whose stream is no larger. Writes table.jsonl, the
files, and plot.png; a row that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

PERSON = 1  # COCO's id
KINDS = {"whole": "every frame whole", "changed": "changed tiles", "x265": "x265 medium"}


class Bench:
    """One clip, its pseudo-labels, and the table so far."""

    def __init__(self, clip: Path, detector: Path, folder: Path, frames: int, every: int, **more: Any) -> None:
        from eval.datasets.clip import clip as open_clip
        from eval.datasets.reading import frames as read
        from eval.models.onnx import OnnxModel
        from eval.models.pseudo import pseudo_truth

        self.dataset, self.model, self.folder = open_clip(clip, None, every, frames), OnnxModel(detector), folder
        self.rate = next(iter(self.dataset.rate.values()), Fraction(25))
        self._read = read
        found = ((item, self.persons(frame)) for item, frame in zip(self.dataset.items, self.frames(), strict=True))
        self.labelled = pseudo_truth(self.dataset, found, self.model)
        folder.mkdir(parents=True, exist_ok=True)
        self.table = folder / "table.jsonl"
        settings = {"clip": clip.name, "frames": len(self.dataset.items), "every": every, **more}
        rows = [json.loads(line) for line in self.table.read_text().splitlines()] if self.table.exists() else []
        self.settings, self.rows = settings, [row for row in rows if settings.items() <= row.items()]

    def frames(self) -> Iterator[np.ndarray]:
        """The uncompressed clip."""
        return iter(self._read(self.dataset.items))

    def persons(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """What the detector finds, persons alone."""
        found = self.model.predict([frame])[0]
        return {key: values[found["labels"] == PERSON] for key, values in found.items()}

    def row(self, kind: str, codec: Any, quality: float, most: int | None = None) -> dict[str, Any]:
        """A row of the table, made where it is not there. most: bytes that choose the anchor's quantiser."""
        known = {"kind": kind, "asked": quality}
        for row in self.rows:
            if known.items() <= row.items():
                return row
        start = time.process_time()
        if most is None and kind == "x265":
            used, data = quality, codec.encode_clip(self.frames(), self.rate)
        elif most is None:
            data = codec.encode_clip(((frame, i) for i, frame in enumerate(self.frames())), 1 / self.rate)
            used = quality
        else:
            from eval.anchors.clips import at_bytes

            used, data = at_bytes("x265", self.frames, self.rate, most)
        encode_s = time.process_time() - start
        path = self.folder / f"{kind}-{quality:g}{codec.suffix}"
        path.write_bytes(data)
        row = {**self.settings, **known, "quality": used, "bytes": path.stat().st_size, **self.score(codec, path),
               "encode_cpu_s": encode_s / len(self.dataset.items), "file": path.name}  # fmt: skip
        self.keep(row)
        return row

    def keep(self, row: dict[str, Any]) -> None:
        """A new row of the table."""
        self.rows.append(row)
        with self.table.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def score(self, codec: Any, path: Path) -> dict[str, Any]:
        """PSNR and AP50 of what a file decodes to, and what that costs."""
        from eval.evaluators.precision import Precision
        from eval.metrics import psnr_db

        precision, psnr, seconds = Precision("detection", self.labelled), [], 0.0
        decoded = iter(codec.decode_clip(path.read_bytes()))
        for item, original in zip(self.dataset.items, self.frames(), strict=True):
            start = time.process_time()
            one = next(decoded)
            seconds += time.process_time() - start
            frame = one[0] if isinstance(one, tuple) else one
            psnr.append(psnr_db(original, frame))
            precision.process(item, original, frame, self.persons(frame))
        figures = precision.evaluate().figures()
        return {"psnr_db": float(np.mean(psnr)), "ap50": figures["ap50"], "ap": figures["ap"],
                "decode_cpu_s": seconds / len(psnr)}  # fmt: skip


def shown(row: dict[str, Any], rate: Fraction) -> str:
    kbps = float(8e-3 * row["bytes"] / row["frames"] * rate)
    ap50 = "none" if row["ap50"] is None else f"{row['ap50']:6.2f}"
    return (f"{KINDS[row['kind']]:<18} {row['quality']:>4g} {row['bytes']:>9,} bytes {kbps:8.1f} kbit/s  PSNR "
            f"{row['psnr_db']:5.2f} dB  person AP50 {ap50}  cpu s a frame: {row['encode_cpu_s']:.3f} to encode, "
            f"{row['decode_cpu_s']:.3f} to decode")  # fmt: skip


def main() -> None:
    """A row for each kind and quality, then the plot."""
    from eval.anchors import ANCHORS
    from icm.codecs.picture import PictureCodec

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared")).resolve()
    parser.add_argument("clip", nargs="?", type=Path, default=shared / "data/clips/person.mp4")
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/clips"))
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--every", type=int, default=1, help="take every so manieth frame")
    parser.add_argument("--quality", type=float, nargs="+", default=[10, 20, 30, 45])
    parser.add_argument("--refresh", type=int, default=128)
    parser.add_argument("--codec", default="sa-icm-s")
    parser.add_argument("--detector", type=Path, default=shared / "weights/FastestDet.onnx")
    arguments = parser.parse_args()
    for path in (arguments.clip, arguments.detector):
        if not path.is_file():
            raise SystemExit(f"{path}: no such file; name the data folder in VCM_SHARED")
    bench = Bench(arguments.clip, arguments.detector, arguments.output, arguments.frames, arguments.every,
                  codec=arguments.codec, refresh=arguments.refresh)  # fmt: skip
    rows = []
    for quality in arguments.quality:
        changed = None
        for kind, refresh in (("changed", arguments.refresh), ("whole", 1)):
            made = bench.row(kind, PictureCodec(arguments.codec, quality, refresh=refresh), quality)
            changed = changed or made
            rows.append(made)
            print(shown(made, bench.rate), flush=True)
        assert changed is not None
        try:
            rows.append(bench.row("x265", ANCHORS["x265"](), quality, changed["bytes"]))
            print(shown(rows[-1], bench.rate), flush=True)
        except ValueError as error:  # fewer bytes than x265's worst quality takes
            print(error, flush=True)
    draw(rows, arguments.output / "plot.png", bench.rate, KINDS)


def draw(rows: list[dict[str, Any]], path: Path, rate: Fraction, kinds: dict[str, str]) -> None:
    """PSNR and person AP50 against kbit/s, a line a kind."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    from eval.plots import style

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    names = [name for name in kinds if any(row["kind"] == name for row in rows)]
    for name in names:
        colour, mark = style(name, names)
        mine = sorted((row for row in rows if row["kind"] == name), key=lambda row: row["bytes"])
        kbps = [float(8e-3 * row["bytes"] / row["frames"] * rate) for row in mine]
        for one, key in zip(axes, ("psnr_db", "ap50"), strict=True):
            points = [(x, row[key]) for x, row in zip(kbps, mine, strict=True) if row[key] is not None]
            if points:
                one.plot(*zip(*points, strict=True), color=colour, marker=mark, label=kinds[name])
    for one, what in zip(axes, ("PSNR, dB", "person AP50 (FastestDet, pseudo-labels)"), strict=True):
        one.set(xlabel="kbit/s, bytes on disk", ylabel=what, xscale="log")
        one.xaxis.set_major_formatter(ticker.LogFormatter())  # 30, not 3·10¹
        one.xaxis.set_minor_formatter(ticker.LogFormatter(minor_thresholds=(1, 0.4)))
        one.grid(alpha=0.3)
    handles, labels = max(axes, key=lambda one: len(one.lines)).get_legend_handles_labels()  # not every kind has a PSNR
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
