"""Parts of structured pictures: a group's own PSNR and AP against its bytes, shapes, other tasks, groups lost.

    python -m benchmarks.groups_partial -o runs/groups_partial --weights W [--quality 20 50 80] [--limit N]
    python -m benchmarks.groups_partial -o runs/scenes --weights W --scenes 40            drawn scenes, exact masks
    python -m benchmarks.groups_partial … --model torchvision:keypointrcnn_resnet50_fpn --model-weights FILE

Pictures are coco128 val with its instance and panoptic labels, or drawn scenes; the model is FastestDet, or
`mask-rcnn-scenes` on scenes, or any that `vcm evaluate` takes. Official weights are never fetched: --model-weights
names them. AP is of persons, all pictures together, the model frozen, of each task that the model has: boxes and masks
against the annotations, poses against the annotations or, where they hold none, against the model's own on the
uncompressed pictures (pseudo-labels, said so). Three tables, bytes those of the files:
  persons   one group of all persons, irregular or as rectangles: bytes of that group, its PSNR over the persons' own
            pixels (the same ones for both shapes), AP of what `vcm extract --groups person` leaves, the rest grey
  a person  every person a group: bytes and PSNR of each, by quarters of their bytes
  lost      every panoptic segment a group, each lost with a probability: PSNR over what is there, AP of what is shown
Writes rows.jsonl (a picture at a quality; what is there is not made again), table.md, plot.png.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.groups import persons_of

SHARES = (0.0, 0.1, 0.25, 0.5)
SHAPES = {"irregular": "persons, irregular", "boxes": "persons, rectangles"}
LEAST = 0.5  # score of a pseudo-label


class Pictures:
    """Pictures and their labels. folder: of the pictures; instances, panoptic: COCO's JSON files."""

    def __init__(self, folder: Path, instances: Path, panoptic: Path, limit: int | None) -> None:
        from icm.groups.sources import Options, Source
        from pipelines.media import list_pictures

        self.paths, self.instances = list_pictures(folder)[:limit], instances
        table = json.loads(instances.read_bytes())
        self.ids = {Path(row["file_name"]).stem: int(row["id"]) for row in table["images"]}
        self.person = next(int(row["id"]) for row in table["categories"] if row["name"] == "person")
        classes = ("person",)
        self.sources = {
            "irregular": Source(str(instances), Options(classes=classes, by="class")),
            "boxes": Source(str(instances), Options(classes=classes, by="class", shape="boxes")),
            "each": Source(str(instances), Options(classes=classes)),
            "panoptic": Source(str(panoptic)),
        }

    def persons(self, path: Path, picture: np.ndarray) -> np.ndarray:
        """(H, W) bool: the persons' own pixels, as annotated."""
        labels, names = self.sources["irregular"].labels(path.name, picture)
        return np.isin(labels, [label for label, name in names.items() if name == "person"])


class Bench:
    """What is measured on one picture."""

    def __init__(self, pictures: Pictures, weights: str, model: Any) -> None:
        self.pictures, self.weights, self.model = pictures, weights, model
        self.tasks = [task for task in ("detection", "instances", "keypoints") if task in model.tasks]

    def found(self, path: Path, picture: np.ndarray) -> list[dict[str, Any]]:
        """Persons that the model sees, as rows of COCO results."""
        from eval.metrics.ap import coco_results

        seen = self.model.predict([picture])[0]
        own = seen["labels"] == self.pictures.person
        kept = {key: seen[key][own] for key in ("boxes", "scores", "labels", "masks", "keypoints") if key in seen}
        return coco_results(self.pictures.ids[path.stem], kept)

    def row(self, path: Path, picture: np.ndarray, quality: float) -> dict[str, Any]:
        """Everything of one picture at one quality; at quality 0, what the model sees of the uncompressed one."""
        row: dict[str, Any] = {"picture": path.stem, "quality": quality, "pixels": picture[..., 0].size}
        if not quality:
            return {**row, "found": self.found(path, picture)}
        from icm.codecs.groups.codec import GroupsCodec

        codec = GroupsCodec("groups", quality, weights=self.weights)
        own = self.pictures.persons(path, picture)
        for shape in SHAPES:
            row[shape] = self._persons(codec, path, picture, own, shape)
        row["each"] = self._each(codec, path, picture)
        row["lost"] = self._lost(codec, path, picture)
        return row

    def _persons(self, codec: Any, path: Path, picture: np.ndarray, own: np.ndarray, shape: str) -> dict[str, Any]:
        """One group of all persons."""
        from icm.bitstream import read
        from icm.groups.stream import extract

        mask = self.pictures.sources[shape].mask(path.name, picture)
        data = codec.encode(picture, mask)
        if "person" not in mask.names:
            return {"bytes": 0, "sent": 0, "cells": 0, "pixels": 0, "error": 0, "found": []}
        number = mask.names.index("person")
        with read(data) as stream:
            cut, size = extract(stream, ["person"]), stream.lengths[number + 1]
        shown = codec.decode(cut)
        return {"bytes": size, "sent": len(cut), "cells": int((mask.ids == number).sum()), "pixels": int(own.sum()),
                "error": squared_error(shown, picture, own), "found": self.found(path, shown)}  # fmt: skip

    def _each(self, codec: Any, path: Path, picture: np.ndarray) -> list[list[int]]:
        """Of every person: bytes, pixels, squared error of its group, decoded alone."""
        from icm.bitstream import read
        from icm.groups.stream import extract

        mask, rows = self.pictures.sources["each"].mask(path.name, picture), []
        with read(codec.encode(picture, mask)) as stream:
            for number in (i for i, name in enumerate(mask.names) if name == "person"):
                where = mask.pixels() == number
                error = squared_error(codec.decode(extract(stream, [number])), picture, where)
                rows.append([stream.lengths[number + 1], int(where.sum()), error])
        return rows

    def _lost(self, codec: Any, path: Path, picture: np.ndarray) -> dict[str, dict[str, Any]]:
        """Of each share: what is there when every group is lost with that probability."""
        from icm.bitstream import read
        from icm.groups.stream import extract

        mask = self.pictures.sources["panoptic"].mask(path.name, picture)
        luck = np.random.default_rng(self.pictures.ids[path.stem]).random(mask.count)
        found = {}
        with read(codec.encode(picture, mask)) as stream:
            for share in SHARES:
                kept = np.flatnonzero(luck >= share)
                shown = codec.decode(extract(stream, kept.tolist())) if len(kept) else np.full_like(picture, 128)
                here = np.isin(mask.pixels(), kept)
                found[f"{share:g}"] = {
                    "groups": mask.count, "kept": len(kept), "pixels": int(here.sum()),
                    "error": squared_error(shown, picture, here), "found": self.found(path, shown),
                }  # fmt: skip
        return found

    def truth(self, task: str, uncompressed: list[dict[str, Any]]) -> tuple[Any, bool]:
        """(a pycocotools COCO of persons, whether it is what the model saw itself)."""
        table = persons_of(json.loads(self.pictures.instances.read_bytes()), self.pictures.person)
        pseudo = task == "keypoints" and not any(row.get("num_keypoints") for row in table["annotations"])
        if pseudo:
            table = own_labels(table, [one for row in uncompressed for one in row["found"]])
        from pycocotools.coco import COCO

        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = table
            truth.createIndex()
        return truth, pseudo


def own_labels(table: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, Any]:
    """The table with a model's poses as its labels."""
    rows: list[dict[str, Any]] = []
    for result in results:
        if result["score"] >= LEAST:
            points = np.array(result["keypoints"]).reshape(-1, 3)
            points[:, 2] = 2  # visible
            width, height = result["bbox"][2:]
            rows.append({**{key: result[key] for key in ("image_id", "category_id", "bbox")}, "id": len(rows) + 1,
                         "iscrowd": 0, "area": width * height, "num_keypoints": len(points),
                         "keypoints": points.ravel().tolist()})  # fmt: skip
    return {**table, "annotations": rows}


def squared_error(shown: np.ndarray, picture: np.ndarray, where: np.ndarray) -> int:
    """Summed over pixels and colours."""
    return int(np.square(shown[where].astype(int) - picture[where]).sum())


def psnr_db(error: float, pixels: float) -> float | None:
    """None where there are no pixels."""
    return 10 * float(np.log10(255**2 * 3 * pixels / max(error, 1e-9))) if pixels else None


def summary(bench: Bench, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of all tables: table, kind, quality, bytes, psnr_db, and AP50 and AP of each task."""
    from eval.metrics.ap import average_precision

    uncompressed = [row for row in rows if not row["quality"]]
    ids = [bench.pictures.ids[row["picture"]] for row in uncompressed]
    truths = {task: bench.truth(task, uncompressed) for task in bench.tasks}

    def precision(found: list[list[dict[str, Any]]]) -> dict[str, float | None]:
        results, out = [one for each in found for one in each], dict[str, float | None]()
        for task, (truth, pseudo) in truths.items():
            figures = average_precision(truth, results, task, ids)
            out |= {f"{task}{' (pseudo)' * pseudo} AP50": figures.ap50, f"{task}{' (pseudo)' * pseudo} AP": figures.ap}
        return out

    lines = [{"table": "persons", "kind": "uncompressed", "quality": 0,
              **precision([row["found"] for row in uncompressed])}]  # fmt: skip
    for quality in sorted({row["quality"] for row in rows if row["quality"]}):
        of = [row for row in rows if row["quality"] == quality]
        for shape in SHAPES:
            parts = [row[shape] for row in of]
            total = {key: sum(part[key] for part in parts) for key in ("bytes", "sent", "cells", "pixels", "error")}
            lines.append({"table": "persons", "kind": SHAPES[shape], "quality": quality, "bytes": total["bytes"],
                          "sent": total["sent"], "cells": total["cells"],
                          "psnr_db": psnr_db(total["error"], total["pixels"]),
                          **precision([part["found"] for part in parts])})  # fmt: skip
        each = np.array(sorted(one for row in of for one in row["each"]), float).reshape(-1, 3)
        for i, part in enumerate(np.array_split(each, 4) if len(each) >= 4 else ()):
            size, pixels, _ = part.sum(0)
            mean = float(np.mean([psnr_db(error, count) or np.nan for _, count, error in part]))
            lines.append({"table": "a person", "kind": f"quarter {i + 1} by bytes", "quality": quality,
                          "groups": len(part), "bytes": float(size / len(part)), "bpp": float(8 * size / pixels),
                          "psnr_db": mean})  # fmt: skip
        for share in SHARES:
            parts = [row["lost"][f"{share:g}"] for row in of]
            total = {key: sum(part[key] for part in parts) for key in ("groups", "kept", "pixels", "error")}
            lines.append({"table": "lost", "kind": f"{100 * share:g} % of groups lost", "quality": quality,
                          "kept": f"{total['kept']} of {total['groups']}",
                          "here": f"{100 * total['pixels'] / sum(row['pixels'] for row in of):.1f} %",
                          "psnr_db": psnr_db(total["error"], total["pixels"]),
                          **precision([part["found"] for part in parts])})  # fmt: skip
    return lines


def report(lines: list[dict[str, Any]]) -> str:
    """Three tables."""
    text = []
    for table in dict.fromkeys(line["table"] for line in lines):
        of = [line for line in lines if line["table"] == table]
        columns = list(dict.fromkeys(key for line in of for key in line if key != "table"))
        text += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        text += [f"| {' | '.join(_cell(key, line.get(key)) for key in columns)} |" for line in of]
        text.append("")
    return "\n".join(text)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key == "quality":
        return f"{value:g}"
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """PSNR and AP50 of persons against the bytes of their groups."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    keys = ["psnr_db", *dict.fromkeys(key for line in lines for key in line if key.endswith("AP50"))]
    figure, axes = plt.subplots(1, len(keys), figsize=(5 * len(keys), 4.2), layout="constrained", squeeze=False)
    for one, key in zip(axes[0], keys, strict=True):
        for name, mark in zip(SHAPES.values(), "os", strict=True):
            of = [line for line in lines if line["kind"] == name and line.get(key) is not None]
            if of:
                one.plot([line["bytes"] / 1000 for line in of], [line[key] for line in of], marker=mark, label=name)
        one.set(xlabel="kilobytes of the persons' groups", xscale="log",
                ylabel="PSNR over the persons' pixels, dB" if key == "psnr_db" else key)  # fmt: skip
        one.grid(alpha=0.3)
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    from eval import models, scenes
    from icm.codecs.release import Release
    from pipelines.media import read_picture
    from pipelines.run.atomic import write_text

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/groups_partial"))
    parser.add_argument("--weights", required=True, help="of `groups`")
    parser.add_argument("--quality", nargs="+", type=float, default=[20, 50, 80])
    parser.add_argument("--scenes", type=int, metavar="N", help="N drawn scenes instead of coco128 val")
    parser.add_argument("--model", help="a task model, by name (default: FastestDet; mask-rcnn-scenes on scenes)")
    parser.add_argument("--model-weights", help="its weights, a file")
    parser.add_argument("--limit", type=int, help="only so many pictures")
    arguments = parser.parse_args()
    shared, out = Path(os.environ.get("VCM_SHARED", "../shared")).resolve(), arguments.output
    usual = "mask-rcnn-scenes" if arguments.scenes else f"onnx:{shared / 'weights/FastestDet.onnx'}"
    name = arguments.model or usual
    if name.startswith("torchvision:") and not arguments.model_weights:
        raise SystemExit(f"{name}: official weights are not fetched; name the file with --model-weights, or leave "
                         "--model out for what is here (FastestDet: boxes; --scenes N: boxes and masks)")  # fmt: skip
    model = models.build(name, arguments.model_weights)
    out.mkdir(parents=True, exist_ok=True)
    if arguments.scenes:
        made_scenes = scenes.write(out / "scenes", count=arguments.scenes, split="test")
        places = [Path(made_scenes[key]) for key in ("images", "instances", "panoptic")]
    else:
        labels = shared / "data/coco128/annotations"
        places = [shared / "data/coco128/images/val", labels / "instances_val.json", labels / "panoptic_val.json"]
    bench = Bench(Pictures(places[0], places[1], places[2], arguments.limit), arguments.weights, model)
    setting = {"weights": Release.load(arguments.weights).hash.hex()[:16], "model": name.rpartition("/")[2],
               "scenes": bool(arguments.scenes)}  # fmt: skip
    record = out / "rows.jsonl"
    rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    rows = [row for row in rows if setting.items() <= row.items()]
    made = {(row["picture"], row["quality"]) for row in rows}
    with record.open("a") as file:
        for number, path in enumerate(bench.pictures.paths, 1):
            for quality in (0, *arguments.quality):
                if (path.stem, quality) not in made:
                    rows.append({**setting, **bench.row(path, read_picture(path), quality)})
                    file.write(json.dumps(rows[-1]) + "\n")
                    file.flush()
            print(f"\r{number} of {len(bench.pictures.paths)} pictures", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    wanted = {path.stem for path in bench.pictures.paths}
    asked = (0, *arguments.quality)
    lines = summary(bench, [row for row in rows if row["picture"] in wanted and row["quality"] in asked])
    text = report(lines)
    write_text(out / "table.md", text)
    draw(lines, out / "plot.png")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
