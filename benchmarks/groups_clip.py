"""A static camera as groups: the background when it changes and persons each frame, against every frame whole.

    python -m benchmarks.groups_clip -o runs/groups_clip --weights W [CLIP] [--frames 300] [--every 1] [--quality 20 40]

One codec, `groups`, and one set of weights in all rows. Persons are FastestDet's boxes, found before coding and kept in
boxes-FRAMES-EVERY.json, as `--groups-from` takes them. Rows:
  whole     every frame whole, as one group
  groups    the background when it changes, persons each frame
  finer     the same, the background finer by --finer qualities, as `--groups-quality background=Q`
  persons   what `vcm extract --groups person` leaves of `groups`, the rest grey (no PSNR: most of it is not there)
Bytes are those of the files; PSNR is the mean over frames; AP50 is of persons, FastestDet's on what was decoded against
its own on the uncompressed frames. Writes table.jsonl, the files, and plot.png; a row that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import Bench, draw

KINDS = {"whole": "every frame whole", "groups": "background when it changes", "finer": "background finer",
         "persons": "persons alone"}  # fmt: skip


class Clip:
    """`groups` as the bench has codecs of clips. source: of masks, None: one group. finer: of the background."""

    suffix = ".vcm"

    def __init__(self, codec: Any, source: Any = None, finer: float = 0) -> None:
        self.codec, self.source, self.finer = codec, source, finer

    def encode_clip(self, frames: Iterable[tuple[np.ndarray, int]], base: Fraction) -> bytes:
        if self.source is None:
            whole: bytes = self.codec.encode_clip(frames, base)
            return whole
        qualities = {"background": min(100.0, self.codec.quality + self.finer)}
        data: bytes = self.codec.encode_clip(frames, base, masks=lambda number, frame: self.source.mask(
            f"{number:06d}", frame), qualities=qualities)  # fmt: skip
        return data

    def decode_clip(self, data: bytes) -> Iterator[tuple[np.ndarray, int]]:
        found: Iterator[tuple[np.ndarray, int]] = self.codec.decode_clip(data)
        return found


class GroupsBench(Bench):
    """`Bench` with boxes for masks, and rows of cut files."""

    def boxes(self) -> Path:
        """{"000000": [{bbox, name, score}, …]} of all frames, found once."""
        path = self.folder / f"boxes-{len(self.dataset.items)}-{self.settings['every']}.json"
        if not path.exists():
            found = {f"{i:06d}": rows(self.persons(frame)) for i, frame in enumerate(self.frames())}
            path.write_text(json.dumps(found))
        return path

    def cut(self, codec: Clip, quality: float) -> dict[str, Any]:
        """The row of what is left of `groups` when persons alone are kept."""
        from icm.bitstream import read
        from icm.groups.stream import extract

        known = {"kind": "persons", "asked": quality}
        for row in self.rows:
            if known.items() <= row.items():
                return row
        start, path = time.process_time(), self.folder / f"persons-{quality:g}.vcm"
        with read(self.folder / f"groups-{quality:g}.vcm") as stream:
            path.write_bytes(extract(stream, ["person"]))
        seconds = (time.process_time() - start) / len(self.dataset.items)
        row = {**self.settings, **known, "quality": quality, "bytes": path.stat().st_size, **self.score(codec, path),
               "psnr_db": None, "encode_cpu_s": seconds, "file": path.name}  # fmt: skip
        self.keep(row)
        return row


def rows(found: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Detections of one frame as `--groups-from` reads them."""
    return [{"bbox": [float(v) for v in (x0, y0, x1 - x0, y1 - y0)], "score": float(score), "name": "person"}
            for (x0, y0, x1, y1), score in zip(found["boxes"], found["scores"], strict=True)]  # fmt: skip


def shown(row: dict[str, Any], whole: int) -> str:
    """One line; whole: bytes of every frame whole at that quality."""
    psnr = "    none" if row["psnr_db"] is None else f"{row['psnr_db']:5.2f} dB"
    ap50 = "none" if row["ap50"] is None else f"{row['ap50']:6.2f}"
    share, cost = 100 * row["bytes"] / whole, (row["encode_cpu_s"], row["decode_cpu_s"])
    return (f"{KINDS[row['kind']]:<27} {row['quality']:>4g} {row['bytes']:>9,} bytes ({share:5.1f} %)  PSNR {psnr}  "
            f"person AP50 {ap50}  cpu s a frame: {cost[0]:.3f} to encode, {cost[1]:.3f} to decode")  # fmt: skip


def main() -> None:
    """Four rows a quality, then the plot."""
    from icm.bitstream import read
    from icm.codecs.groups.codec import GroupsCodec
    from icm.groups import clips
    from icm.groups.sources import Options, Source

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared")).resolve()
    parser.add_argument("clip", nargs="?", type=Path, default=shared / "data/clips/person.mp4")
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/groups_clip"))
    parser.add_argument("--weights", required=True, help="of `groups`")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--every", type=int, default=1, help="take every so manieth frame")
    parser.add_argument("--quality", type=float, nargs="+", default=[20, 40, 60])
    parser.add_argument("--finer", type=float, default=20, help="qualities, of the background in that row")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--detector", type=Path, default=shared / "weights/FastestDet.onnx")
    arguments = parser.parse_args()
    for path in (arguments.clip, arguments.detector):
        if not path.is_file():
            raise SystemExit(f"{path}: no such file; name the data folder in VCM_SHARED")
    weights = GroupsCodec("groups", weights=arguments.weights).coder.release.hash.hex()[:16]
    bench = GroupsBench(arguments.clip, arguments.detector, arguments.output, arguments.frames, arguments.every,
                        weights=weights, finer=arguments.finer)  # fmt: skip
    source = Source(str(bench.boxes()), Options(classes=("person",), by="class"))
    made = []
    for quality in arguments.quality:
        codec, once = (GroupsCodec("groups", quality, weights=arguments.weights, refresh=n) for n in (512, 1))
        coders = {"whole": Clip(once), "groups": Clip(codec, source), "finer": Clip(codec, source, arguments.finer)}
        whole = bench.row("whole", coders["whole"], quality)
        for kind in arguments.kinds:
            row = bench.cut(coders["groups"], quality) if kind == "persons" else bench.row(kind, coders[kind], quality)
            made.append(row)
            print(shown(row, whole["bytes"]), flush=True)
            if kind == "groups":
                with read(bench.folder / row["file"]) as stream:
                    facts, parts = clips.facts(stream.header), clips.listing(stream)
                each = [f"{p['name']} {p['bytes']:,} bytes, sent {p['sent']} times, {p['whole']} whole" for p in parts]
                each.append(f"index {facts['index_bytes']:,} bytes, of which masks {facts['mask_bytes']:,}")
                print(f"  {'; '.join(each)}", flush=True)
    draw(made, arguments.output / "plot.png", bench.rate, KINDS)


if __name__ == "__main__":
    main()
