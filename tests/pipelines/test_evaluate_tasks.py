"""vcm evaluate for panoptic, semantic and tracking, with pseudo-labels, and with fine-tuned models."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eval.models
from eval.metrics.scores import load
from eval.models.weights import SHIPPED
from eval.records import read_jsonl
from tests.eval.tiny import tiny_files
from tests.pipelines.tiny_model import TinyModel

STUFF = 5


class Full(TinyModel):
    """Boxes, masks, and both maps: objects on ground (category 5)."""

    name, note = "full", "knows squares and discs"
    tasks = ("detection", "instances", "panoptic", "semantic")
    categories = {1: "square", 2: "disc", 3: "never", STUFF: "ground"}  # noqa: RUF012

    def _one(self, picture):
        found = super()._one(picture)
        ids = np.full(picture.shape[:2], 900, np.int32)
        segments = [{"id": 900, "category_id": STUFF, "isthing": False}]
        for i, (mask, label) in enumerate(zip(found["masks"], found["labels"], strict=True), 1):
            ids[mask] = i
            segments.append({"id": i, "category_id": int(label), "isthing": True})
        classes = np.zeros(1000, np.int32)
        classes[[s["id"] for s in segments]] = [s["category_id"] for s in segments]
        return {**found, "panoptic": ids, "segments": segments, "semantic": classes[ids]}


@pytest.fixture
def full(monkeypatch):
    monkeypatch.setitem(eval.models.MODELS, "full", Full)
    monkeypatch.setattr(TinyModel, "calls", 0)
    return Full


def panoptic_files(folder: Path) -> tuple[Path, str]:
    """The tiny data set with panoptic labels too: (pictures, both JSONs)."""
    images, instances = tiny_files(folder)
    read = json.loads(instances.read_text())
    rows = []
    for row in read["images"]:
        picture = np.asarray(Image.open(images / row["file_name"])).astype(int)
        found = Full()._one(picture)
        png = np.stack([found["panoptic"] >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8)
        (folder / "panoptic").mkdir(exist_ok=True)
        name = Path(row["file_name"]).name
        Image.fromarray(png).save(folder / "panoptic" / name)
        segments = []
        for segment in found["segments"]:
            y, x = np.nonzero(found["panoptic"] == segment["id"])
            box = [int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]
            segments.append({"id": segment["id"], "category_id": segment["category_id"], "iscrowd": 0,
                             "area": len(x), "bbox": box})  # fmt: skip
        rows.append({"image_id": row["id"], "file_name": name, "segments_info": segments})
    categories = [{**c, "isthing": 1} for c in read["categories"]] + [{"id": STUFF, "name": "ground", "isthing": 0}]
    path = folder / "panoptic.json"
    path.write_text(json.dumps({"images": read["images"], "annotations": rows, "categories": categories}))
    return images, f"{instances},{path}"


def test_every_task_of_a_picture_from_one_look(vcm, full, tmp_path):
    images, annotations = panoptic_files(tmp_path / "data")
    run = tmp_path / "run"
    words = ["evaluate", "--images", images, "--annotations", annotations, "--model", "full", "--codec", "jpeg:90,2",
             "-o", run]  # fmt: skip
    done = vcm(*words, "--task", "panoptic,semantic")
    assert done.code == 0, done.err
    assert "warning" not in done.err
    records = {(r.codec, r.quality, r.task): r for r in read_jsonl(run / "records.jsonl")}
    ceiling = records["uncompressed", 0, "panoptic"]
    assert ceiling.metrics["pq"] == pytest.approx(100)
    assert ceiling.ap is None
    assert {"pq", "sq", "rq", "pq_things", "pq_stuff"} <= set(ceiling.metrics)
    assert ceiling.per_class["ground"] == pytest.approx(100)
    assert records["uncompressed", 0, "semantic"].metrics["miou"] == pytest.approx(100)
    assert records["jpeg", 2, "panoptic"].metrics["pq"] < records["jpeg", 90, "panoptic"].metrics["pq"] < 100
    assert "panoptic PQ 100.0  semantic mIoU 100.0" in done.out
    folder = run / "predictions" / "jpeg" / "90"
    assert load(folder / "full.panoptic.npz").figures() == records["jpeg", 90, "panoptic"].metrics
    written = json.loads((folder / "full.panoptic.json").read_text())["annotations"]
    assert [row["image_id"] for row in written] == [10, 11]
    # detection too, later: nothing is looked at again, and the same figures come from what was kept
    calls = TinyModel.calls
    assert vcm(*words, "--task", "detection,panoptic,semantic", "--resume").code == 0
    assert TinyModel.calls == calls
    assert {r.settings for r in records.values()} < {r.settings for r in read_jsonl(run / "records.jsonl")}
    for path in run.rglob("full.panoptic.npz"):
        path.unlink()
    (run / "records.jsonl").unlink()
    assert vcm(*words, "--task", "panoptic,semantic", "--resume").code == 0
    again = {(r.codec, r.quality, r.task): r for r in read_jsonl(run / "records.jsonl")}
    assert {key: r.metrics for key, r in again.items()} == {key: r.metrics for key, r in records.items()}


def test_a_model_is_asked_for_what_is_wanted_alone(vcm, full, tmp_path, monkeypatch):
    asked = []

    class Sparing(Full):
        name, wanted = "sparing", None

        def _one(self, picture):
            asked.append(self.wanted)
            found = super()._one(picture)
            return found if "panoptic" in self.wanted else {k: v for k, v in found.items() if k in (
                "boxes", "scores", "labels")}  # fmt: skip

    monkeypatch.setitem(eval.models.MODELS, "sparing", Sparing)
    images, annotations = panoptic_files(tmp_path / "data")
    words = ["evaluate", "--images", images, "--annotations", annotations, "--model", "sparing", "--codec", "jpeg:90",
             "-o", tmp_path / "run"]  # fmt: skip
    assert vcm(*words, "--task", "detection").code == 0
    assert set(asked) == {("detection",)}
    before = len(asked)
    assert vcm(*words, "--task", "detection,panoptic", "--resume").code == 0
    assert asked[before:] == [("detection", "panoptic")] * 5  # it had not been asked for the maps: it looks again
    both = read_jsonl(tmp_path / "run" / "records.jsonl")
    assert [r.task for r in both] == ["detection", "panoptic"] * 2
    # stopped while it looks again for yet another task: what it found before is gone, and is not taken for found
    look = Sparing._one

    def stop(self, picture):
        if picture.shape != (64, 64, 3) and len(asked) > before + 6:
            raise KeyboardInterrupt
        return look(self, picture)

    monkeypatch.setattr(Sparing, "_one", stop)
    assert vcm(*words, "--task", "detection,panoptic,semantic", "--resume").code == 130
    monkeypatch.setattr(Sparing, "_one", look)
    (tmp_path / "run" / "records.jsonl").unlink()
    assert vcm(*words, "--task", "detection,panoptic", "--resume").code == 0
    assert [r.metrics for r in read_jsonl(tmp_path / "run" / "records.jsonl")] == [r.metrics for r in both]


def test_a_model_that_sees_nothing_is_told(vcm, full, tmp_path, monkeypatch):
    monkeypatch.setattr(Full, "_one", lambda self, picture: {
        "boxes": np.zeros((0, 4)), "labels": np.zeros(0, int), "scores": np.zeros(0)})  # fmt: skip
    images, annotations = tiny_files(tmp_path / "data")
    done = vcm("evaluate", "--images", images, "--annotations", annotations, "--model", "full", "--task", "detection",
               "--codec", "jpeg:90", "-o", tmp_path / "run")  # fmt: skip
    assert done.code == 0
    assert done.err.count("full fails at detection on the uncompressed pictures already (knows squares and discs)") == 1


def test_pseudo_labels_are_what_the_model_finds_in_the_originals(vcm, full, tmp_path):
    images, _ = tiny_files(tmp_path / "data")
    run = tmp_path / "run"
    words = ["evaluate", "--images", images, "--model", "full", "tiny", "--task", "detection,panoptic", "--codec",
             "jpeg:95,1", "--pseudo-labels", "0.3", "-o", run]  # fmt: skip
    eval.models.MODELS["tiny"] = TinyModel
    try:
        done = vcm(*words)
    finally:
        del eval.models.MODELS["tiny"]
    assert done.code == 0, done.err
    records = {(r.codec, r.quality, r.model, r.task): r for r in read_jsonl(run / "records.jsonl")}
    assert {r.protocol for r in records.values()} == {"pseudo-labels"}
    assert len({r.content for r in records.values()}) == 1
    for model, task, figure in (("full", "detection", "ap"), ("full", "panoptic", "pq"), ("tiny", "detection", "ap")):
        ceiling, fine, coarse = (records[codec, quality, model, task].metrics[figure]
                                 for codec, quality in (("uncompressed", 0), ("jpeg", 95), ("jpeg", 1)))  # fmt: skip
        assert ceiling == pytest.approx(100)
        assert coarse < fine <= 100
    assert TinyModel.calls == 2 + 2 * 3 * 2  # the originals are looked at once, though they are the labels
    refused = vcm("evaluate", "--images", images, "--model", "full", "--task", "detection", "--codec", "jpeg:95",
                  "--resume", "-o", run, "--pseudo-labels", "0.9")  # fmt: skip
    assert (refused.code, "of other pictures or labels" in refused.err) == (2, True)


def test_pseudo_labels_need_the_originals(vcm, full, tmp_path, monkeypatch):
    from eval.anchors.still import Uncompressed

    monkeypatch.setattr(Uncompressed, "decode", lambda self, data: _refuse())
    images, _ = tiny_files(tmp_path / "data")
    done = vcm("evaluate", "--images", images, "--model", "full", "--task", "detection", "--codec", "jpeg:95",
               "--pseudo-labels", "-o", tmp_path / "run")  # fmt: skip
    assert done.code == 1
    assert "refused jpeg:95: pseudo-labels of full are what it finds in the uncompressed pictures" in done.err


def _refuse():
    raise ValueError("gone")


def test_objects_of_clips_are_tracked(vcm, full, tmp_path):
    if importlib.util.find_spec("trackeval") is None:
        pytest.skip("needs TrackEval: pip install --no-deps trackeval")
    from tests.pipelines.tiny_clip import tiny_clip

    tiny_clip(tmp_path / "clips" / "a.mkv", 6)
    run = tmp_path / "run"
    done = vcm("evaluate", "--images", tmp_path / "clips", "--dataset", "clip", "--model", "full", "--task",
               "tracking,detection", "--codec", "x265:20", "--pseudo-labels", "-o", run)  # fmt: skip
    assert done.code == 0, done.err
    records = {(r.codec, r.task): r for r in read_jsonl(run / "records.jsonl")}
    assert records["uncompressed", "tracking"].metrics["hota"] == pytest.approx(100)
    assert records["x265", "tracking"].metrics["idf1"] > 50
    assert records["x265", "tracking"].per_sequence["a.mkv"]["hota"] == records["x265", "tracking"].metrics["hota"]
    assert [p.name for p in (run / "streams" / "x265" / "20").iterdir() if p.name != "point.json"] == ["a.mkv.hevc"]


def test_fine_tuned_weights_say_so_themselves(vcm, full, tmp_path):
    """`vcm finetune` on drawn scenes; then the label follows the file."""
    from eval import scenes

    scenes.write(tmp_path / "scenes", 2, seed=0, split="train")
    images, annotations = tmp_path / "scenes" / "images", tmp_path / "scenes" / "annotations" / "instances.json"
    words = ["finetune", "--images", images, "--annotations", annotations, "--codec", "jpeg:3,8",
             "--model", "mask-rcnn-scenes", "--batch", "1", "--learning-rate", "1e-3"]  # fmt: skip
    done = vcm(*words, "--steps", "2", "-o", tmp_path / "tuned")
    assert done.code == 0, done.err
    weights = tmp_path / "tuned" / "model.safetensors"
    assert len(list((tmp_path / "tuned" / "decoded" / "jpeg").rglob("*.png"))) == 4
    from safetensors.torch import load_file

    from pipelines.evaluate_models import tuned_on

    before, after = load_file(SHIPPED / "mask-rcnn-scenes.safetensors"), load_file(weights)
    assert set(before) == set(after)
    assert any((before[name].float() - after[name].float()).abs().max() > 1e-4 for name in before)
    about = tuned_on(weights)
    assert (about["codecs"], about["pictures"], about["steps"]) == (["jpeg:3", "jpeg:8"], 2, 2)
    refused = vcm(*words, "--steps", "2", "-o", tmp_path / "tuned")
    assert (refused.code, "--resume" in refused.err) == (2, True)
    measure = ["evaluate", "--images", images, "--annotations", annotations, "--task", "detection", "--model",
               "mask-rcnn-scenes"]  # fmt: skip
    tuned = ["--model-weights", weights]
    done = vcm(*measure, *tuned, "--codec", "webp:1", "--protocol", "fine-tuned", "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert "fine-tuned on pictures of jpeg:3, jpeg:8, not of webp" in done.err
    assert "was fine-tuned on these very pictures" in done.err
    assert {r.protocol for r in read_jsonl(tmp_path / "run" / "records.jsonl")} == {"fine-tuned"}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["models"][0]["fine_tuned_on"] == about
    done = vcm(*measure, *tuned, "--codec", "jpeg:3", "--protocol", "frozen", "-o", tmp_path / "other")
    assert (done.code, "was fine-tuned on pictures of jpeg:3, jpeg:8" in done.err) == (2, True)


@pytest.mark.parametrize(("words", "says"), [
    (["--model", "full"], "cannot be fine-tuned"),
    (["--codec", "jpeg", "--model", "mask-rcnn-scenes"], "give qualities"),
    (["--dataset", "folder"], "no annotations"),
])  # fmt: skip
def test_what_cannot_be_tuned_is_one_line(vcm, full, tmp_path, words, says):
    images, annotations = tiny_files(tmp_path / "data")
    base = {"--codec": "jpeg:5", "--model": "mask-rcnn-scenes", **dict(zip(words[::2], words[1::2], strict=True))}
    done = vcm("finetune", "--images", images, "--annotations", annotations, "--steps", "1", "-o", tmp_path / "tuned",
               *(word for pair in base.items() for word in pair))  # fmt: skip
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err
