"""`vcm edges`: a folder of pictures, or a clip, to a folder of edge maps, resumable, each file whole or absent.

    pictures ─read─▶ (H, W, 3) ─segmenter─▶ label map ─edges─▶ OUT/STEM.png, one row in OUT/manifest.jsonl

What is written: the edge maps (8-bit grey PNG, 0 or 255; below alpha-A/ when there are several alphas; folders of
IMAGES are kept), manifest.jsonl (one row an edge map, sorted), run.json (settings and provenance), refused.jsonl (if
any), preview/sheet.png (if asked for). While it runs, rows gather in .journal.jsonl, so that a killed run loses one
batch, which is drawn again whole.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.run.batch import Refusals, one_line

if TYPE_CHECKING:
    from icm.edges.segmenters import Segmenter
    from pipelines.edges_book import Book
    from pipelines.edges_job import Drawn, Settings

NAME = "edges"
HELP = "draw the edge maps that training looks at, from Segment Anything, annotations or colour alone"
EPILOG = """\
examples:
  vcm edges photos -o edges --segmenter sam:vit_h --alpha 0.93
  vcm edges photos -o edges --segmenter sam:vit_b --alpha 0.93,0.78 --sam-checkpoint sam_vit_b_01ec64.pth --preview 8
  vcm edges coco/train -o edges --segmenter labels:annotations/panoptic_train.json --dilate 5
  vcm edges bsds500/images -o edges --segmenter labels:bsds500/groundTruth --option annotators=all
  vcm edges photos -o edges --segmenter felzenszwalb --option scale=300
  vcm edges clip.mp4 -o edges --segmenter sam:vit_b --reuse 4          (000000.png, 000001.png, ...: one a frame)
  vcm edges photos -o shards --segmenter sam:vit_h --output-format webdataset --shard 1000
  vcm edges photos -o thick --segmenter sam:vit_h --alpha 0.98 --dilate 3 --keep-masks masks    (no model where kept)

segmenters:
  sam:vit_h, sam:vit_l, sam:vit_b   Segment Anything; --option points_per_side=32 stability_score_thresh=0.95
                                    box_nms_thresh=0.7 crop_n_layers=0 and others of its mask generator, whose masks
                                    these are; faster, almost the same: search_pool=2 refine=0.005 refine_masks=0.1;
                                    faster, a little other: precision=bfloat16 low_res_margin=0.02
  labels:PATH                       COCO panoptic or instances (.json), a folder of BSDS .mat (--option annotators=all,
                                    finest, coarsest or a number), a folder of label PNGs
  felzenszwalb                      the offline fallback: regions of like colour;
                                    --option scale=200 sigma=0.8 min_size=100

One pass serves all of --alpha. A rerun does what is missing.
Pictures that cannot be read or have no labels are listed, and the exit code is 1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("images", metavar="IMAGES", type=Path, help="a folder of pictures (searched below), one picture, or a clip")
    add("-o", dest="output", metavar="EDGES", type=Path, required=True, help="folder for edge maps and manifest")
    add("--segmenter", metavar="NAME", required=True, help="sam:vit_h|vit_l|vit_b, labels:PATH or felzenszwalb")
    add("--alpha", metavar="A[,A...]", help="keep masks of predicted IoU above A; a folder each (sam: 0.93)")
    add("--dilate", metavar="N", type=int, default=1, help="width of the edges in pixels, odd (default 1)")
    add("--canny", metavar="LO,HI", default="100,200", help="Canny's thresholds (default 100,200)")
    add(
        "--method",
        choices=("canny", "change"),
        default="canny",
        help="Canny on coloured regions, or the bare label changes (default canny)",
    )
    add("--option", metavar="KEY=VALUE", nargs="+", action="extend", default=[], help="of the segmenter, see below")
    add("--sam-checkpoint", metavar="PATH", help="weights (default: the official ones, from the cache)")
    add("--device", default="auto", help="where Segment Anything runs: auto, cpu, cuda, cuda:1 (default auto)")
    add("--preview", metavar="N", type=int, default=0, help="show N pictures with labels and edges: preview/sheet.png")
    add("--batch", metavar="N", type=int, default=1, help="pictures at a time: 1 for a CPU, 8 for a GPU (default 1)")
    add("--reuse", metavar="L", type=float, help="of a clip: frames still to within L levels of 255 keep their edges")
    add("--workers", metavar="N", type=int, default=1, help="processes, or Ray actors (default 1)")
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where the work runs; ray: on the cluster of RAY_ADDRESS, or a Ray of this machine (default local)",
    )
    add(
        "--output-format",
        choices=("folder", "webdataset"),
        default="folder",
        help="a PNG a picture, or tar shards of KEY.png and KEY.json (default folder)",
    )
    add("--shard", metavar="N", type=int, default=1000, help="pictures a shard, in whole batches (default 1000)")
    add("--keep-masks", metavar="DIR", type=Path, help="keep Segment Anything's masks there, and use those kept")
    add("--dry-run", action="store_true", help="say what would be done, write nothing")
    add("--json", action="store_true", help="print the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0, or 1 with refused pictures listed. Raises ValueError, OSError, ImportError for a bad request."""
    from pipelines import edges_job as job
    from pipelines.edges_book import Book
    from pipelines.edges_clip import is_clip
    from pipelines.edges_shards import Shards
    from pipelines.run.atomic import make_folder
    from pipelines.run.engines import need_ray
    from pipelines.run.lock import Lock

    if arguments.workers < 1 or arguments.preview < 0:
        raise ValueError("--workers must be at least 1 and --preview at least 0")
    recipe = job.Recipe(
        arguments.segmenter,
        arguments.sam_checkpoint,
        arguments.device,
        _options(arguments.option),
        arguments.keep_masks,
    )
    segmenter = recipe.build()
    settings = job.Settings(
        _alphas(arguments.alpha, segmenter.scored, arguments.segmenter),
        arguments.method,
        _canny(arguments.canny),
        arguments.dilate,
        arguments.batch,
        arguments.reuse,
    )
    settings.check()
    output: Path = arguments.output
    if is_clip(arguments.images):
        return _run_clip(arguments, segmenter, settings)
    if arguments.reuse is not None:
        raise ValueError(f"--reuse is for a clip, and {arguments.images} is none")
    if arguments.engine == "ray":
        need_ray()
    names = _pictures(arguments.images, output)
    if segmenter.notice:
        print(f"vcm: {segmenter.notice}", file=sys.stderr)
    shards = None
    if arguments.output_format == "webdataset":
        shards = Shards(output, settings, list(names), arguments.shard)
    book, refusals = Book(output, segmenter.settings(), settings, shards), Refusals()
    segmenter.check(settings.alphas)
    book.load()
    if arguments.dry_run:
        todo = book.plan(names, refusals)
        return _report(arguments, book, refusals, len(names), len(todo), len(names) - len(todo) - len(refusals))
    make_folder(output)
    with Lock(output), book:
        book.load()  # again: another run may just have ended
        todo = book.plan(names, refusals)
        already = len(names) - len(todo) - len(refusals)
        write, show = set(todo), set(_sample(sorted(names), arguments.preview)) - {name for name, _ in refusals.items}
        batches = [
            [job.Job(name, names[name], name in write, name in show) for name in batch if name in write or name in show]
            for batch in settings.batches(list(names))
        ]
        batches = [batch for batch in batches if batch]
        if batches:
            segmenter.prepare()
        book.begin()
        for number in shards.begin(batches) if shards else ():  # nothing left to draw, perhaps not yet packed
            book.pack(number)
        sheet = {}
        drawn_batches = job.draw_all(
            batches, segmenter, recipe, settings, book.files, arguments.workers, arguments.engine
        )
        for batch, done in zip(batches, drawn_batches, strict=True):
            for drawn in done:
                if drawn.error is not None:
                    refusals.add(drawn.job.name, _reason(drawn))
                    book.forget(drawn.job.name)
                elif drawn.preview is not None:
                    sheet[drawn.job.name] = drawn.preview
            book.add([drawn.rows for drawn in done if drawn.rows and drawn.job.write])
            if shards and (full := shards.finished(batch)) is not None:
                book.pack(full)
        book.close(refusals)
        if sheet:
            _write_sheet(output / "preview" / "sheet.png", [sheet[name] for name in sorted(sheet)])
    drawn_count = sum(1 for name in todo if name in book)
    return _report(arguments, book, refusals, len(names), drawn_count, already)


def _run_clip(arguments: argparse.Namespace, segmenter: Segmenter, settings: Settings) -> int:
    """As `run`, of a clip: its frames in order, by this process."""
    from pipelines.clips import probe_clip
    from pipelines.edges_book import Book
    from pipelines.edges_clip import draw_clip
    from pipelines.run.atomic import make_folder
    from pipelines.run.lock import Lock

    clip, output = arguments.images, arguments.output
    if arguments.workers > 1 or arguments.engine != "local":
        raise ValueError(f"{clip}: a clip is read by one process; leave --workers and --engine out")
    if arguments.output_format != "folder":
        raise ValueError(f"{clip}: the edge maps of a clip are a folder; leave --output-format out")
    if segmenter.notice:
        print(f"vcm: {segmenter.notice}", file=sys.stderr)
    book, refusals = Book(output, segmenter.settings(), settings), Refusals()
    segmenter.check(settings.alphas)
    book.load()
    if arguments.dry_run:
        frames = probe_clip(clip).frames or 0
        return _report(arguments, book, refusals, frames, max(0, frames - len(book)), len(book))
    probe_clip(clip)  # refused before anything is made
    make_folder(output)
    with Lock(output), book:
        book.load()
        segmenter.prepare()
        book.begin()
        drawn, total, sheet = draw_clip(clip, segmenter, settings, book, refusals, arguments.preview)
        book.close(refusals)
        if sheet:
            _write_sheet(output / "preview" / "sheet.png", [sheet[name] for name in sorted(sheet)])
    return _report(arguments, book, refusals, total, drawn, len(book) - drawn)


def _pictures(images: Path, output: Path) -> dict[str, Path]:
    """Name (path below the input folder, `/` between) -> path, of a folder or of one picture."""
    from pipelines.media import list_pictures

    if output.resolve() == images.resolve():
        raise ValueError(f"{output}: holds the pictures; choose another folder for -o")
    if images.is_file():
        return {images.name: images}
    below = output.resolve()
    return {
        path.relative_to(images).as_posix(): path
        for path in list_pictures(images)
        if not path.resolve().is_relative_to(below)
    }


def _reason(drawn: Drawn) -> str:
    """The reason without the path that the list names already."""
    return one_line(drawn.error).removeprefix(f"{drawn.job.path}: ") if drawn.error else ""


def _write_sheet(path: Path, rows: list[Any]) -> None:
    from icm.edges.preview import sheet
    from pipelines.media import write_picture

    write_picture(path, sheet(rows))


def _report(
    arguments: argparse.Namespace, book: Book, refusals: Refusals, pictures: int, drawn: int, already: int
) -> int:
    """Print the summary, as text or as JSON, and the refused on stderr; the exit code."""
    refusals.report()
    verb = "planned" if arguments.dry_run else "drawn"
    fractions = book.statistics()
    if arguments.json:
        print(
            json.dumps(
                {
                    "pictures": pictures,
                    verb: drawn,
                    "already_there": already,
                    "refused": len(refusals),
                    "refusals": [{"picture": name, "reason": reason} for name, reason in refusals.items],
                    "edge_fraction": fractions,
                    "settings": book.settings,
                },
                ensure_ascii=False,
                indent=1,
            )
        )
        return refusals.exit_code
    counts = f"{drawn} {verb}, {already} already there, {len(refusals)} refused"
    print(f"{arguments.output}: {counts}, of {pictures} pictures")
    for alpha, values in fractions.items():
        label = "" if alpha == "none" else f" at alpha {alpha}"
        print(f"edge fraction{label}: mean {values['mean']:.4f}, from {values['min']:.4f} to {values['max']:.4f}")
    return refusals.exit_code


def _alphas(text: str | None, scored: bool, segmenter: str) -> tuple[float | None, ...]:
    if not scored:
        if text and "," in text:
            raise ValueError(f"--alpha {text}: {segmenter} has no scores to choose masks by; leave --alpha out")
        if text:
            print(f"vcm: --alpha {text} has no effect: {segmenter} has no scores", file=sys.stderr)
        return (None,)
    alphas = _numbers(text or "0.93", float, "--alpha")
    if not all(0 <= alpha <= 1 for alpha in alphas) or len(set(alphas)) < len(alphas):
        raise ValueError(f"--alpha {text}: give different numbers between 0 and 1")
    return tuple(alphas)


def _canny(text: str) -> tuple[int, int]:
    numbers = _numbers(text, int, "--canny")
    if len(numbers) != 2:
        raise ValueError(f"--canny {text}: give two thresholds, LO,HI")
    return numbers[0], numbers[1]


def _numbers(text: str, kind: type, option: str) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text}: not numbers separated by commas") from None


def _options(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    for (key, sign, _), word in zip(pairs, words, strict=True):
        if not key or not sign:
            raise ValueError(f"--option {word}: give KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _sample(names: list[str], count: int) -> list[str]:
    """`count` names, evenly spaced over the sorted list."""
    count = min(count, len(names))
    return [names[(2 * i + 1) * len(names) // (2 * count)] for i in range(count)]
