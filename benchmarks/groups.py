"""Groups against one group, and persons alone against whole pictures, on coco128 val: files, PSNR, person AP50.

    python -m benchmarks.groups -o runs/groups --weights runs/groups-small/model.safetensors [--quality 10 30 50 70 90]

Four codings of each picture, all by the same network, bytes those of the files:
  one         the whole picture as one group
  panoptic    every panoptic segment a group, all decoded (masks and headers included): PSNR against `one` at equal bpp
  irregular   annotated persons as groups, only they are kept (`vcm extract`), the rest grey
  boxes       the same with the rectangles around them
AP50 is of persons, over all pictures, by FastestDet, frozen, against the annotations; the masks are the annotations',
which a detector at the encoder would have to find. Writes rows.jsonl (a picture at a quality; what is there is not made
again), table.md, plot.png.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PERSON = 1  # COCO's id
KINDS = {"one": "whole picture, one group", "panoptic": "all panoptic groups", "irregular": "persons, irregular",
         "boxes": "persons, rectangles"}  # fmt: skip

COLUMNS = (("quality", "g"), ("sent_bytes", ","), ("rate_bpp", ".3f"), ("psnr_db", ".2f"), ("person_ap50", ".1f"))


class Bench:
    """What is measured on one picture. shared: the data folder."""

    def __init__(self, shared: Path, weights: str) -> None:
        from eval.models.onnx import OnnxModel
        from icm.groups.sources import Options, Source

        labels = shared / "data/coco128/annotations"
        self.instances = labels / "instances_val.json"
        self.weights, self.model = weights, OnnxModel(shared / "weights/FastestDet.onnx")
        persons = str(self.instances)
        self.sources = {
            "panoptic": Source(str(labels / "panoptic_val.json")),
            "irregular": Source(persons, Options(classes=("person",))),
            "boxes": Source(persons, Options(classes=("person",), shape="boxes")),
        }

    def rows(self, path: Path, picture: np.ndarray, quality: float, kinds: list[str]) -> Iterator[dict[str, Any]]:
        """A row a kind: bytes of the file that is sent, squared error of a full decode, detections of what is shown."""
        from icm.bitstream import read
        from icm.codecs.groups.codec import GroupsCodec
        from icm.groups.stream import extract

        codec = GroupsCodec("groups", quality, weights=self.weights)
        for kind in kinds:
            mask = self.sources[kind].mask(path.name, picture) if kind != "one" else None
            data = codec.encode(picture, mask)
            shown = codec.decode(data)
            row = {"picture": path.stem, "kind": kind, "quality": quality, "pixels": picture[..., 0].size,
                   "groups": mask.count if mask else 1, "bytes": len(data), "sent": len(data),
                   "squared_error": int(np.square(shown.astype(int) - picture).sum())}  # fmt: skip
            if kind in ("irregular", "boxes"):
                with read(data) as stream:
                    cut = extract(stream, [n for n in dict.fromkeys(mask.names) if n == "person"])  # type: ignore[union-attr]
                shown, row["sent"] = codec.decode(cut), len(cut)
            if kind != "panoptic":
                row["found"] = self.persons(path, shown)
            yield row

    def persons(self, path: Path, picture: np.ndarray) -> list[dict[str, Any]]:
        """Persons as rows of COCO results."""
        from eval.metrics.ap import coco_results

        found = self.model.predict([picture])[0]
        own = {key: values[found["labels"] == PERSON] for key, values in found.items()}
        return coco_results(int(path.stem), own)

    def ap50(self, rows: list[dict[str, Any]]) -> float | None:
        """Of persons, on the pictures of these rows."""
        import contextlib
        import io

        from pycocotools.coco import COCO

        from eval.metrics.ap import average_precision

        table = persons_of(json.loads(self.instances.read_bytes()), PERSON)
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = table
            truth.createIndex()
        results = [result for row in rows for result in row["found"]]
        return average_precision(truth, results, "detection", [int(row["picture"]) for row in rows]).ap50


def persons_of(table: dict[str, Any], person: int) -> dict[str, Any]:
    """COCO's annotations with persons alone."""
    kept = {"categories": [row for row in table["categories"] if row["id"] == person],
            "annotations": [row for row in table["annotations"] if row["category_id"] == person]}  # fmt: skip
    return {**table, **kept}


def summary(bench: Bench, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line a kind and quality, in the order of KINDS; the uncompressed pictures first, where they were measured."""
    lines = []
    for kind in ("uncompressed", *KINDS):
        for quality in sorted({row["quality"] for row in rows if row["kind"] == kind}):
            of = [row for row in rows if (row["kind"], row["quality"]) == (kind, quality)]
            pixels = sum(row["pixels"] for row in of)
            line: dict[str, Any] = {"kind": kind, "quality": quality, "pictures": len(of)}
            if kind != "uncompressed":
                error = np.array([row["squared_error"] / (3 * row["pixels"]) for row in of])
                line |= {"rate_bpp": 8 * sum(row["bytes"] for row in of) / pixels,
                         "sent_bytes": sum(row["sent"] for row in of),
                         "psnr_db": float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-3))))}  # fmt: skip
            if all("found" in row for row in of):
                line["person_ap50"] = bench.ap50(of)
            lines.append(line)
    return lines


def lost_db(lines: list[dict[str, Any]], kind: str) -> list[tuple[float, float]]:
    """(bpp, dB) that a kind loses against one group at equal bpp, where one group's rates reach."""
    from scipy.interpolate import PchipInterpolator

    one = sorted((line["rate_bpp"], line["psnr_db"]) for line in lines if line["kind"] == "one")
    if len(one) < 2:
        return []
    curve = PchipInterpolator(np.log([rate for rate, _ in one]), [psnr for _, psnr in one])
    own = sorted((line["rate_bpp"], line["psnr_db"]) for line in lines if line["kind"] == kind)
    return [(rate, float(curve(np.log(rate))) - psnr) for rate, psnr in own if one[0][0] <= rate <= one[-1][0]]


def report(lines: list[dict[str, Any]]) -> str:
    """The table, and what the groups cost."""
    text = ["| | quality | bytes sent | bpp, all groups | PSNR of a full decode | person AP50 of what is sent |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for line in lines:
        cells = ["" if line.get(key) is None else format(line[key], how) for key, how in COLUMNS]
        text.append(" | ".join([f"| {KINDS.get(line['kind'], line['kind'])}", *cells]) + " |")
    for kind in ("panoptic", "irregular"):
        lost = lost_db(lines, kind)
        if lost:
            each = ", ".join(f"{db:+.2f} at {rate:.3f} bpp" for rate, db in lost)
            text.append(f"\n{KINDS[kind]}, all decoded, lose against one group at equal bpp: "
                        f"{np.mean([db for _, db in lost]):+.2f} dB on average ({each}).")  # fmt: skip
    return "\n".join(text) + "\n"


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Person AP50 against kilobytes sent."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    for kind, colour, mark in (("one", "tab:blue", "o"), ("irregular", "tab:orange", "s"), ("boxes", "tab:green", "^")):
        points = [(line["sent_bytes"] / 1000, line["person_ap50"]) for line in lines
                  if line["kind"] == kind and line.get("person_ap50") is not None]  # fmt: skip
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker=mark, label=KINDS[kind])
    for line in lines:
        if line["kind"] == "uncompressed" and line.get("person_ap50") is not None:
            axes.axhline(line["person_ap50"], color="grey", linewidth=1, linestyle="--", label="uncompressed")
    axes.set(xlabel="kilobytes sent, all pictures", ylabel="person AP50 (FastestDet, frozen)", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/groups"))
    parser.add_argument("--weights", required=True, help="of `groups`")
    parser.add_argument("--quality", nargs="+", type=float, default=[10, 30, 50, 70, 90])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--limit", type=int, help="only so many pictures")
    arguments = parser.parse_args()

    from icm.codecs.release import Release
    from pipelines.media import list_pictures, read_picture
    from pipelines.run.atomic import write_text

    shared = Path(os.environ.get("VCM_SHARED", "../shared")).resolve()
    pictures = list_pictures(shared / "data/coco128/images/val")[: arguments.limit]
    bench, out = Bench(shared, arguments.weights), arguments.output
    setting = {"weights": Release.load(arguments.weights).hash.hex()[:16]}
    out.mkdir(parents=True, exist_ok=True)
    record = out / "rows.jsonl"
    rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    rows = [row for row in rows if setting.items() <= row.items()]
    made = {(row["picture"], row["kind"], row["quality"]) for row in rows}
    with record.open("a") as file:
        for number, path in enumerate(pictures, 1):
            picture = read_picture(path)
            fresh: list[dict[str, Any]] = []
            if (path.stem, "uncompressed", 0) not in made:
                fresh.append({"picture": path.stem, "kind": "uncompressed", "quality": 0,
                              "pixels": picture[..., 0].size, "found": bench.persons(path, picture)})  # fmt: skip
            for quality in arguments.quality:
                kinds = [kind for kind in arguments.kinds if (path.stem, kind, quality) not in made]
                for row in [*fresh, *bench.rows(path, picture, quality, kinds)]:
                    file.write(json.dumps({**setting, **row}) + "\n")
                    rows.append({**setting, **row})
                fresh = []
                file.flush()
            print(f"\r{number} of {len(pictures)} pictures", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    wanted = {path.stem for path in pictures}
    lines = summary(bench, [row for row in rows if row["picture"] in wanted
                            and row["quality"] in (0, *arguments.quality)])  # fmt: skip
    text = report(lines)
    write_text(out / "table.md", text)
    draw(lines, out / "plot.png")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
