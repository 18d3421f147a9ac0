"""What `vcm evaluate` costs over a bare loop that decodes the same files and asks the same model, side by side.

    python -m benchmarks.evaluation [--model M] [--pictures 64] [--codec jpeg:40 sa-icm-s:30] [--repeats 3] [-o FILE]

The bare loop reads each file, decodes it and predicts, and keeps nothing. The evaluation does this beside PSNR and
MS-SSIM against the originals, results in COCO's format, AP with all its parts, scores a picture, and records; its files
were coded before, so that encoding counts for neither. The default model is torchvision's smallest detector (Faster
R-CNN, MobileNet v3, 320 pixels), the worst case, for a larger one hides more. Weights are random, sharpened so that it
finds many things in every picture. Turns alternate; the medians are compared, of wall-clock
seconds and of processor seconds (all threads), which other programs disturb less, but in which what is done beside the
model counts as if it had been done after it. Without VCM_SHARED, drawn scenes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODEL = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"


def random_weights(name: str, path: Path) -> None:
    """Weights of a Faster R-CNN, never trained, that find something nearly everywhere."""
    import torch
    from safetensors.torch import save_file

    from eval.models.official import network

    torch.manual_seed(0)
    model = network(name.partition(":")[2])
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight *= 400
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def pictures(folder: Path, count: int) -> tuple[Path, Path]:
    """(folder of pictures, instances JSON) of at least `count` pictures."""
    shared = Path(os.environ.get("VCM_SHARED", "../shared")) / "data" / "coco128"
    if shared.is_dir():
        return shared / "images" / "val", shared / "annotations" / "instances_val.json"
    from eval import scenes

    scenes.write(folder, count, split="demo")
    return folder / "images", folder / "annotations" / "instances.json"


class Contest:
    """One codec: its files, and the two ways through them."""

    def __init__(self, folder: Path, spec: str, count: int, model: str = MODEL) -> None:
        from pipelines.codecs import parse
        from pipelines.evaluate_data import dataset_of, readable
        from pipelines.evaluate_models import tested_models
        from pipelines.evaluate_plan import Settings
        from pipelines.points import Bench
        from pipelines.run.batch import Refusals

        images, annotations = pictures(folder / "scenes", count)
        weights = folder / "random.safetensors"
        if not weights.exists():
            random_weights(model, weights)
        self.settings = Settings(str(images), [spec], str(annotations), tasks=["detection"], models=[model],
                                 model_weights={model: str(weights)}, limit=count, samples=0)  # fmt: skip
        self.codec: Any = parse(spec)
        dataset = dataset_of(self.settings)
        self.tested = tested_models(self.settings, dataset)
        dataset, content = readable(dataset, Refusals())
        self.bench = Bench(folder / "run", dataset, content, self.tested, samples=0)
        self.bench.encode(self.codec)

    def bare(self) -> None:
        """Decode each file and ask the model."""
        model = self.tested[0].model
        for stream in self.bench.streams(self.codec):
            model.predict([self.codec.decode(stream.path.read_bytes())])

    def whole(self) -> None:
        """The same as a point of `vcm evaluate`."""
        from pipelines.evaluate import Engine
        from pipelines.evaluate_loop import Loop
        from pipelines.results import Records
        from pipelines.run.batch import Refusals

        for name in ("predictions", "records.jsonl", "records.csv", "results"):
            path = self.bench.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        refusals = Refusals()
        with contextlib.redirect_stdout(io.StringIO()):
            Loop(self.bench, Records(self.bench.folder, False), self.settings, Engine(), refusals).points([self.codec])
        if refusals:
            raise ValueError(refusals.items[0][1])


def seconds(function: Callable[[], None]) -> tuple[float, float]:
    """(wall-clock, processor seconds of all threads)."""
    start, busy = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - busy


def main(words: list[str] | None = None) -> list[dict[str, Any]]:
    """Print a row a codec; returns them."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help=f"one of torchvision's Faster R-CNNs (default {MODEL})")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--codec", nargs="+", default=["jpeg:40", "sa-icm-s:30"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json")
    arguments = parser.parse_args(words)
    rows = []
    print(f"{arguments.model}, {arguments.pictures} pictures, {torch.get_num_threads()} threads, "
          f"medians of {arguments.repeats}", flush=True)  # fmt: skip
    for spec in arguments.codec:
        with tempfile.TemporaryDirectory() as folder:
            contest = Contest(Path(folder), spec, arguments.pictures, arguments.model)
            contest.bare()  # not counted: memory and caches warm up
            times = [(*seconds(contest.bare), *seconds(contest.whole)) for _ in range(arguments.repeats)]
            results = json.loads(next(contest.bench.folder.glob(f"predictions/{contest.codec.name}/*/*_fpn.json"))
                                 .read_bytes())  # fmt: skip
        bare, bare_cpu, whole, whole_cpu = (statistics.median(column) for column in zip(*times, strict=True))
        found = len(results) / arguments.pictures
        rows.append({"codec": spec, "bare_s": bare, "evaluate_s": whole, "ratio": whole / bare, "found": found,
                     "bare_processor_s": bare_cpu, "evaluate_processor_s": whole_cpu, "turns": times})  # fmt: skip
        print(f"{spec:<14} bare loop {bare:6.2f} s   evaluate {whole:6.2f} s   ratio {whole / bare:.3f}   "
              f"(processor: {bare_cpu:.2f} s, {whole_cpu:.2f} s)   {found:.0f} detections a picture",
              flush=True)  # fmt: skip
    if arguments.output:
        from pipelines.run.provenance import provenance

        arguments.output.write_text(json.dumps({"rows": rows, **provenance()}, indent=1))
    return rows


if __name__ == "__main__":
    main()
