"""Six ways of training `sa-icm-s` for machines, from one plain start with equal steps, coded to files, side by side.

    python -m benchmarks.ways -o runs/ways [--steps 2000] [--seeds 0 1] [--jobs 2]

    edge maps ─▶ way × seed: vcm train ─▶ × quality: vcm encode, decode ─▶ AP50, agreement ─▶ table, matched, plot

| way | what its training counts |
|---|---|
| plain | every pixel alike |
| regions | pixels of labelled objects (region learning); pictures without such labels in full |
| edges | pixels near edges alone (SA-ICM) |
| blend | the same, and every other pixel a quarter |
| roi | every pixel, at the quality of its cell; the encoder maps qualities by saliency and the stream carries the map |
| features | half pixels, half features of a frozen detector (task loss) |

Rate: bytes of the files. AP50: FastestDet against COCO's labels, by $VCM_SHARED/eval/coco_ap.py. Agreement: its AP50
against its own boxes (score 0.3 or more) on the originals, which does not ask whether these were right and is less
noisy. No way sees FastestDet or a picture of val in training. At matched rates both are interpolated in log bpp.

What is there is not made again: ended anywhere, the same command goes on, and more ways, seeds or qualities may be
added. Writes table.jsonl (a row a file set), matched.json, table.md, plot.png.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_pictures import point, vcm

STYLES = {  # colours of Okabe and Ito, told apart by most eyes
    "plain": ("#000000", "o"), "regions": ("#e69f00", "s"), "edges": ("#56b4e9", "^"), "blend": ("#0072b2", "v"),
    "roi": ("#009e73", "D"), "features": ("#d55e00", "P"),
}  # fmt: skip
WAYS = tuple(STYLES)
DISTORTION = {"plain": "all"}  # others are called as they are
ROI = {"roi": ("--roi", "saliency")}  # what the encoder does beside
SHIFT = {"roi": 8.0}  # of qualities: most cells of a map lie 20 below the one named, so that rates meet the others'
OWN_SCORE = 0.3
EDGES = {
    "coco128": ("coco128/images/train", "coco128/annotations/panoptic_train.json", ()),
    "bsds500-train": ("bsds500/images/train", "bsds500/groundTruth/train", ("--option", "annotators=finest")),
    "bsds500-val": ("bsds500/images/val", "bsds500/groundTruth/val", ("--option", "annotators=finest")),
}
Row = dict[str, Any]


# --- training -------------------------------------------------------------------------------------------------------
def draw_edges(shared: Path, folder: Path) -> None:
    """Boundaries of the annotators' segments, 5 pixels wide, as the shipped weights saw them."""
    for name, (pictures, labels, options) in EDGES.items():
        if not (folder / name / "run.json").exists():
            command = ["edges", f"{shared}/data/{pictures}", "-o", str(folder / name), "--dilate", "5",
                       "--segmenter", f"labels:{shared}/data/{labels}", *options]  # fmt: skip
            done = subprocess.run([sys.executable, "-W", "ignore", "-m", "pipelines", *command], check=False)
            if done.returncode not in (0, 1):  # 1: pictures without labels, listed
                raise SystemExit(done.returncode)


def train(way: str, seed: int, out: Path, arguments: argparse.Namespace) -> Path:
    """The weights of one way and seed; a run that was ended goes on."""
    run = out / "train" / f"{way}-{seed}"
    weights = run / "model.safetensors"
    if weights.exists():
        return weights
    words = [f"settings.distortion={DISTORTION.get(way, way)}", f"settings.weights={arguments.start}",
             f"trainer.seed={seed}", *arguments.set]  # fmt: skip
    sources = [{"pictures": f"{arguments.shared}/data/{pictures}", "masks": str(out / "edges" / name)}
               for name, (pictures, _, _) in EDGES.items()]  # fmt: skip
    sources[0]["labels"] = f"{arguments.shared}/data/coco128/annotations/instances_train.json"
    started = time.time()
    vcm("train", "pipelines/configs/ways.yaml", "-o", str(run), "--steps", str(arguments.steps), "--resume",
        f"settings.data={json.dumps(sources)}", *words)  # fmt: skip
    print(f"{way}, seed {seed}: trained {arguments.steps} steps ({time.time() - started:.0f} s now)", flush=True)
    return weights


# --- measuring ------------------------------------------------------------------------------------------------------
class Judge:
    """FastestDet on some of the labelled pictures of val: its AP50 against the labels, and against its own boxes."""

    def __init__(self, shared: Path, pictures: Path) -> None:
        spec = importlib.util.spec_from_file_location("coco_ap", shared / "eval/coco_ap.py")
        assert spec is not None
        assert spec.loader is not None
        self.method: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.method)
        options = self.method.onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.net = self.method.onnxruntime.InferenceSession(str(shared / "weights/FastestDet.onnx"), options)
        stems = {path.stem for path in pictures.iterdir()}
        with contextlib.redirect_stdout(io.StringIO()):
            whole = self.method.COCO(str(shared / "data/coco128/annotations/instances_val.json"))
        images = [image for image in whole.dataset["images"] if Path(image["file_name"]).stem in stems]
        chosen = {image["id"] for image in images}
        labels = [row for row in whole.dataset["annotations"] if row["image_id"] in chosen]
        categories = whole.dataset["categories"]
        self.labelled = self._coco(images, labels, categories)
        self.own = self._coco(images, self._boxes(images, categories, pictures), categories)
        self.uncompressed, _ = self.method.average_precision(self.labelled, self.net, pictures)

    def _boxes(self, images: Iterable[Row], categories: Sequence[Row], pictures: Path) -> list[Row]:
        ids = sorted(row["id"] for row in categories)
        rows: list[Row] = []
        files = {path.stem: path for path in pictures.iterdir()}
        for image in images:
            bgr = self.method.cv2.imread(str(files[Path(image["file_name"]).stem]))
            for box, score, label in zip(*self.method.detect(self.net, bgr), strict=True):
                if score >= OWN_SCORE:
                    rows.append({"id": len(rows) + 1, "image_id": image["id"], "category_id": ids[label], "iscrowd": 0,
                                 "bbox": box.tolist(), "area": float(box[2] * box[3])})  # fmt: skip
        return rows

    def _coco(self, images: list[Row], annotations: list[Row], categories: list[Row]) -> Any:
        made = self.method.COCO()
        made.dataset = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        with contextlib.redirect_stdout(io.StringIO()):
            made.createIndex()
        return made

    def __call__(self, decoded: Path) -> Row:
        """AP50 and agreement of a folder, in percent, and the share of the uncompressed AP50 that is kept."""
        ap50, _ = self.method.average_precision(self.labelled, self.net, decoded)
        agreement, _ = self.method.average_precision(self.own, self.net, decoded)
        kept = 100 * ap50 / self.uncompressed if self.uncompressed else float("nan")
        return {"ap50": float(ap50), "ap50_kept_percent": float(kept), "agreement_ap50": float(agreement)}


def measure(
    way: str, seed: int, weights: Path, out: Path, pictures: Path, judge: Judge, quality: float, lock: threading.Lock
) -> Row:
    """Code the pictures at one quality, in processes of their own, and judge what comes back."""
    place, spec = out / "points" / f"{way}-{seed}", f"sa-icm-s:{quality + SHIFT.get(way, 0):g}"
    shutil.rmtree(place / "streams" / spec, ignore_errors=True)  # of a run that was ended there
    rate = point(spec, pictures, place, {"sa-icm-s": str(weights)}, ROI.get(way, ()))
    with lock:  # pycocotools prints, and its output is caught for the whole process
        judged = judge(place / "decoded" / spec)
    row = {"way": way, "seed": seed, "quality": quality, "rate_bpp": rate, **judged}
    shutil.rmtree(place / "decoded" / spec)  # the files decode to it again at any time
    return row


# --- what it says ---------------------------------------------------------------------------------------------------
def at_rate(points: Sequence[tuple[float, float]], rate_bpp: float) -> float | None:
    """The value at a rate, interpolated in log bpp between the two points around it; None outside the curve."""
    rates, values = zip(*sorted(points), strict=True)
    if not rates[0] <= rate_bpp <= rates[-1]:
        return None
    return float(np.interp(np.log(rate_bpp), np.log(rates), values))


def matched(rows: Sequence[Row], rates: Sequence[float], start: str = "plain") -> list[Row]:
    """A row a way and rate: mean over seeds, half the range between them, and the difference from `start`."""
    made = []
    for rate in rates:
        for way in dict.fromkeys(row["way"] for row in rows):
            row: Row = {"way": way, "rate_bpp": rate}
            for figure in ("ap50", "ap50_kept_percent", "agreement_ap50"):
                found = _of_seeds(rows, way, figure, rate)
                plain = _of_seeds(rows, start, figure, rate)
                row[figure] = float(np.mean(found)) if found else None
                row[f"{figure}_half_range"] = float(np.ptp(found)) / 2 if found else None
                row[f"{figure}_gain"] = float(np.mean(found) - np.mean(plain)) if found and plain else None
            made.append(row)
    return made


def _of_seeds(rows: Sequence[Row], way: str, figure: str, rate_bpp: float) -> list[float]:
    found = []
    for seed in sorted({row["seed"] for row in rows if row["way"] == way}):
        points = [(row["rate_bpp"], row[figure]) for row in rows if (row["way"], row["seed"]) == (way, seed)]
        if (value := at_rate(points, rate_bpp)) is not None:
            found.append(value)
    return found


def common_rates(rows: Sequence[Row], count: int = 3) -> list[float]:
    """Rates inside every curve, geometric between their common ends; none where two curves share no rate."""
    curves: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        curves.setdefault((row["way"], row["seed"]), []).append(row["rate_bpp"])
    low, high = max(map(min, curves.values())), min(map(max, curves.values()))
    if low >= high:
        return []
    return [float(rate) for rate in np.clip(np.geomspace(low, high, count), low, high)]


def page(rows: Sequence[Row], matches: Sequence[Row]) -> str:
    """Two tables in Markdown."""
    lines = ["| way | seed | quality | bpp | AP50 | kept | agreement |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {r['way']} | {r['seed']} | {r['quality']:g} | {r['rate_bpp']:.4f} | {r['ap50']:.1f} "
              f"| {r['ap50_kept_percent']:.0f} % | {r['agreement_ap50']:.1f} |" for r in rows]  # fmt: skip
    lines += ["", "At matched rates: mean over the seeds (half their range), difference from plain.", "",
              "| way | bpp | AP50 | from plain | agreement | from plain |", "|---|---|---|---|---|---|"]  # fmt: skip
    for r in matches:
        cells = []
        for figure in ("ap50", "agreement_ap50"):
            if r[figure] is None:
                cells += ["n/a", "n/a"]
            else:
                gain = "n/a" if r[f"{figure}_gain"] is None else f"{r[f'{figure}_gain']:+.1f}"
                cells += [f"{r[figure]:.1f} ({r[f'{figure}_half_range']:.1f})", gain]
        lines.append(f"| {r['way']} | {r['rate_bpp']:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], path: Path) -> None:
    """AP50 kept and agreement against bits per pixel, a line a way through the means of its seeds, seeds as dots."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, both = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    ways = [way for way in STYLES if any(row["way"] == way for row in rows)]
    titles = {"ap50_kept_percent": "AP50 kept, %", "agreement_ap50": "agreement with its own boxes, AP50"}
    for axes, (name, title) in zip(both, titles.items(), strict=True):
        for way in ways:
            colour, mark = STYLES[way]
            of = [row for row in rows if row["way"] == way]
            axes.plot([r["rate_bpp"] for r in of], [r[name] for r in of], color=colour, marker=mark, linestyle="",
                      alpha=0.35)  # fmt: skip
            means = [[float(np.mean([r[key] for r in of if r["quality"] == quality])) for key in ("rate_bpp", name)]
                     for quality in sorted({r["quality"] for r in of})]  # fmt: skip
            axes.plot(*zip(*means, strict=True), color=colour, marker=mark, label=way)
        axes.set(xlabel="bits per pixel, bytes on disk", ylabel=f"{title} (FastestDet, frozen)")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_xticks([0.03, 0.05, 0.1, 0.2, 0.4])
        axes.grid(alpha=0.3)
    both[0].legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def chosen_pictures(shared: Path, out: Path, count: int | None) -> Path:
    """The folder of val, or one with copies of its first pictures."""
    source = shared / "data/coco128/images/val"
    if not source.is_dir():
        raise SystemExit(f"{source}: no such folder; name the data folder in VCM_SHARED")
    if count is None:
        return source
    folder = out / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir())[:count]:
        shutil.copy(path, folder / path.name)
    return folder


def same_settings(out: Path, settings: Row) -> None:
    """Note what all rows of this folder have in common; end where a folder was begun with something else."""
    note = out / "settings.json"
    if note.exists() and (then := json.loads(note.read_text())) != settings:
        changed = "; ".join(f"{key} was {then.get(key)}, not {value}" for key, value in settings.items()
                            if then.get(key) != value)  # fmt: skip
        raise SystemExit(f"{out}: {changed}; give the same, or another -o")
    note.write_text(json.dumps(settings, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ways", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/ways"))
    parser.add_argument("--start", default="lic-s", help="weights that all start from (default lic-s, plain MSE)")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--qualities", type=float, nargs="+", default=[10, 30, 50])
    parser.add_argument("--pictures", type=int, help="measure on the first so many only (default: all of val)")
    parser.add_argument("--jobs", type=int, default=1, help="ways side by side, one thread each")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of pipelines/configs/ways.yaml")
    arguments = parser.parse_args()
    arguments.shared = Path(os.environ.get("VCM_SHARED", "../shared")).resolve()
    out = arguments.output.resolve()
    out.mkdir(parents=True, exist_ok=True)
    same_settings(out, {key: getattr(arguments, key) for key in ("start", "steps", "pictures", "set")})
    pictures = chosen_pictures(arguments.shared, out, arguments.pictures)
    draw_edges(arguments.shared, out / "edges")
    table = out / "table.jsonl"
    rows: list[Row] = [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []
    judge, lock = Judge(arguments.shared, pictures), threading.Lock()
    print(f"uncompressed AP50 {judge.uncompressed:.1f}; {len(judge.own.dataset['annotations'])} boxes of its own")

    def run(way: str, seed: int) -> None:
        weights = train(way, seed, out, arguments)
        for quality in arguments.qualities:
            with lock:
                there = any((row["way"], row["seed"], row["quality"]) == (way, seed, quality) for row in rows)
            if there:
                continue
            row = measure(way, seed, weights, out, pictures, judge, quality, lock)
            with lock:
                rows.append(row)
                rows.sort(key=lambda row: (WAYS.index(row["way"]), row["seed"], row["quality"]))
                table.write_text("".join(json.dumps(row) + "\n" for row in rows))

    with ThreadPoolExecutor(arguments.jobs) as pool:  # a whole seed first
        for one in [pool.submit(run, way, seed) for seed in arguments.seeds for way in arguments.ways]:
            one.result()
    rates = common_rates(rows)
    if not rates:
        print("no rate lies in every curve: measure further --qualities")
    matches = matched(rows, rates)
    (out / "matched.json").write_text(json.dumps(matches, indent=1) + "\n")
    (out / "table.md").write_text(page(rows, matches))
    draw(rows, out / "plot.png")
    print(page(rows, matches))


if __name__ == "__main__":
    main()
