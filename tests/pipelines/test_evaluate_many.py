"""vcm evaluate with several models, clips, workers and a cache: nothing is done twice, nothing differs."""

from __future__ import annotations

import dataclasses
import json
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import eval.models
from eval.metrics.scores import load
from eval.records import read_jsonl
from pipelines import kept
from pipelines.points import Bench
from tests.eval.tiny import tiny_files
from tests.pipelines.tiny_model import TinyModel

MEASURED = {"encode_s", "decode_s", "predict_s", "overlapped", "encode_threads", "decode_threads"}


class Blind(TinyModel):
    """Sees discs alone."""

    name = "blind"
    tasks = ("detection",)
    categories = {2: "disc", 1: "circle"}  # noqa: RUF012

    def _one(self, picture):
        found = super()._one(picture)
        keep = found["labels"] == 2
        return {key: value[keep] for key, value in found.items() if key != "masks"}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    images, annotations = tiny_files(tmp_path / "data")
    monkeypatch.setitem(eval.models.MODELS, "tiny", TinyModel)
    monkeypatch.setitem(eval.models.MODELS, "blind", Blind)
    monkeypatch.setattr(TinyModel, "calls", 0)
    return ["evaluate", "--images", images, "--annotations", annotations]


def figures(run: Path) -> list[dict]:
    """The records without what is measured anew each time."""
    rows = map(dataclasses.asdict, read_jsonl(run / "records.jsonl"))
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]


def counting(monkeypatch):
    """How often a picture was encoded and decoded by Pillow."""
    from eval.anchors.still import Pillow

    counts = {"encode": 0, "decode": 0}

    def counted(name, original):
        def call(self, data):
            counts[name] += 1
            return original(self, data)

        return call

    for name in counts:
        monkeypatch.setattr(Pillow, name, counted(name, getattr(Pillow, name)))
    return counts


def test_models_share_one_decoding(vcm, tiny, tmp_path, monkeypatch):
    counts, run = counting(monkeypatch), tmp_path / "run"
    done = vcm(*tiny, "--model", "tiny", "blind", "--task", "detection,instances", "--codec", "webp:30", "-o", run)
    assert done.code == 0, done.err
    assert counts == {"encode": 2, "decode": 2}
    assert TinyModel.calls == 2 * (1 + 2 * 2)  # each model: a grey picture, and two pictures at two points
    records = read_jsonl(run / "records.jsonl")
    assert [(r.model, r.task) for r in records[:3]] == [
        ("tiny", "detection"), ("tiny", "instances"), ("blind", "detection")]  # fmt: skip
    whole, half = (next(r for r in records if r.model == name) for name in ("tiny", "blind"))
    assert (whole.ap, half.ap) == (pytest.approx(100), pytest.approx(50))
    assert half.ap_per_class["square"] == 0
    assert whole.psnr_db == half.psnr_db
    assert "1 category ids mean something else to blind" in done.err
    # scores of each picture are kept, and give the same figures
    folder = run / "predictions" / "webp" / "30"
    for record in records[3:]:
        scores = load(folder / f"{record.model}.{record.task}.npz")
        assert scores.figures() == record.metrics
        assert list(scores.picture_ids) == [10, 11]
    assert load(folder / "none.fidelity.npz").figures()["psnr_db"] == records[3].psnr_db
    note = json.loads((run / "streams" / "webp" / "30" / "point.json").read_text())
    assert sum(note["bytes"].values()) == records[3].bytes_total
    assert note["pixels"] == {"10": 48 * 64, "11": 48 * 64}
    # a third model later: decoded again, not encoded, and the others do not look again
    monkeypatch.setitem(eval.models.MODELS, "third", type("Third", (TinyModel,), {"name": "third"}))
    before = TinyModel.calls
    assert vcm(*tiny, "--model", "tiny", "blind", "third", "--task", "detection", "--task", "instances",
               "--codec", "webp:30", "-o", run, "--resume").code == 0  # fmt: skip
    assert counts == {"encode": 2, "decode": 4}
    assert TinyModel.calls == before + 3 + 4


@pytest.mark.parametrize(("words", "says"), [
    (["--model", "blind", "--task", "instances"], "--task instances: blind does detection only"),
    (["--model", "tiny", "--task", "panoptic"], "--task panoptic: the labels are for detection, instances only"),
    (["--model", "tiny", "tiny", "--task", "detection"], "--model tiny: is there twice"),
    (["--model", "tiny", "blind", "--model-weights", "a.pt", "--task", "detection"], "whose? write MODEL=FILE"),
    (["--model", "tiny", "--task", "detection", "--pseudo-labels"], "there are --annotations"),
    (["--model", "tiny", "--task", "detection", "--protocol", "fine-tuned"], "`vcm finetune` makes such weights"),
    (["--model", "tiny", "--task", "detection", "--workers", "0"], "--workers 0"),
])  # fmt: skip
def test_bad_requests_are_one_line(vcm, tiny, tmp_path, words, says):
    done = vcm(*tiny, *words, "--codec", "jpeg:50", "-o", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", [["--workers", "2"], ["--engine", "ray", "--workers", "1"], ["--no-overlap"]])
def test_engines_give_the_same_figures(vcm, tiny, tmp_path, monkeypatch, engine):
    """Workers are given what can be pickled and give back what can be; here they live in this process, for speed."""
    def spread(units, make, engine, workers):
        work = pickle.loads(pickle.dumps(make))()
        for unit in units:
            yield pickle.loads(pickle.dumps(work(pickle.loads(pickle.dumps(unit)))))

    monkeypatch.setattr("pipelines.evaluate_loop.spread", spread)
    monkeypatch.setattr("pipelines.run.engines.need_ray", lambda: None)  # nothing of it is used here
    monkeypatch.setattr("pipelines.points.SHARD", 1)
    words = [*tiny, "--model", "tiny", "blind", "--task", "detection,instances", "--codec", "jpeg:5,50", "webp:20"]
    assert vcm(*words, "-o", tmp_path / "one").code == 0
    done = vcm(*words, *engine, "-o", tmp_path / "other")
    assert done.code == 0, done.err
    assert figures(tmp_path / "one") == figures(tmp_path / "other")
    for name in ("tiny.json", "blind.json", "tiny.instances.npz", "none.fidelity.npz"):
        one, other = ((tmp_path / run / "predictions" / "webp" / "20" / name).read_bytes() for run in ("one", "other"))
        assert one == other
    samples = [sorted(p.relative_to(tmp_path / run) for p in (tmp_path / run / "samples").rglob("*.png"))
               for run in ("one", "other")]  # fmt: skip
    assert samples[0] == samples[1]
    overlapped = {r.overlapped for r in read_jsonl(tmp_path / "other" / "records.jsonl")}
    assert overlapped == {engine != ["--no-overlap"]}


def test_a_unit_that_fails_leaves_the_other_points_whole(vcm, tiny, tmp_path, monkeypatch):
    from eval.anchors.still import Pillow

    encode = Pillow.encode

    def moody(self, picture):
        if self.quality == 5:
            raise ValueError("not today")
        return encode(self, picture)

    def spread(units, make, engine, workers):
        work = make()
        yield from (work(unit) for unit in units)

    monkeypatch.setattr(Pillow, "encode", moody)
    monkeypatch.setattr("pipelines.evaluate_loop.spread", spread)
    monkeypatch.setattr("pipelines.points.SHARD", 1)
    done = vcm(*tiny, "--model", "tiny", "--task", "detection", "--codec", "jpeg:5,50", "--workers", "2",
               "-o", tmp_path / "run")  # fmt: skip
    assert done.code == 1
    assert "refused jpeg:5: not today" in done.err
    records = read_jsonl(tmp_path / "run" / "records.jsonl")
    assert [(r.codec, r.quality) for r in records] == [("uncompressed", 0), ("jpeg", 50)]
    assert records[0].ap == pytest.approx(100)


def test_what_one_run_did_another_takes_from_the_cache(vcm, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("VCM_CACHE", str(tmp_path / "cache"))
    counts = counting(monkeypatch)
    words = [*tiny, "--model", "tiny", "--task", "detection,instances", "--codec", "webp:30", "jpeg:50"]
    assert vcm(*words, "-o", tmp_path / "one").code == 0
    before, calls = dict(counts), TinyModel.calls
    stream = tmp_path / "one" / "streams" / "webp" / "30" / "picture0.webp"
    data = stream.read_bytes()
    stream.write_bytes(b"")  # entries are copies
    done = vcm(*words, "-o", tmp_path / "other")
    assert done.code == 0, done.err
    assert counts["encode"] == before["encode"]
    assert TinyModel.calls == calls
    assert figures(tmp_path / "one") == figures(tmp_path / "other")
    assert (tmp_path / "other" / "streams" / "webp" / "30" / "picture0.webp").read_bytes() == data


def test_a_second_run_of_the_configuration_does_nothing(vcm, tiny, tmp_path, monkeypatch):
    run = tmp_path / "run"
    assert vcm(*tiny, "--model", "tiny", "--task", "detection", "--codec", "webp:30", "jpeg", "--match", "webp",
               "-o", run).code == 0  # fmt: skip
    results = [path for path in run.rglob("*.*") if path.parent != run or path.suffix == ".jsonl"]
    before = {path: path.stat().st_mtime_ns for path in results}
    text = (run / "config.yaml").read_bytes()
    counts, calls = counting(monkeypatch), TinyModel.calls
    monkeypatch.setattr("pipelines.evaluate_data.read_picture", None)  # known by their hashes
    done = vcm("evaluate", run / "config.yaml", "-o", run, "--resume")
    assert done.code == 0, done.err
    assert done.out.count("done before") == 3
    assert counts == {"encode": 0, "decode": 0}
    assert TinyModel.calls == calls
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (run / "config.yaml").read_bytes() == text


def test_results_in_the_form_of_compressai(vcm, tiny, tmp_path):
    run = tmp_path / "run"
    assert vcm(*tiny, "--model", "tiny", "--task", "detection", "--codec", "jpeg:80,5", "-o", run).code == 0
    from compressai.utils.plot.__main__ import parse_json_file

    path = run / "results" / "jpeg.json"
    low, high = sorted((r for r in read_jsonl(run / "records.jsonl") if r.codec == "jpeg"), key=lambda r: r.rate_bpp)
    assert parse_json_file(path, "psnr") == {
        "name": "jpeg", "xs": [low.rate_bpp, high.rate_bpp], "ys": [low.psnr_db, high.psnr_db]}  # fmt: skip
    results = json.loads(path.read_text())["results"]
    assert results["tiny/detection/ap"] == [low.ap, high.ap]
    assert results["encoding_time"] == [low.encode_s / 2, high.encode_s / 2]
    assert {len(values) for values in results.values()} == {2}


def test_runs_of_one_model_by_the_old_names(vcm, tiny, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"images: {tiny[2]}\nannotations: {tiny[4]}\ncodecs: [jpeg:5]\nmodel: tiny\ntasks: [detection]\n")
    assert vcm("evaluate", config, "-o", tmp_path / "run").code == 0
    assert {r.model for r in read_jsonl(tmp_path / "run" / "records.jsonl")} == {"tiny"}


@pytest.fixture
def clips(tmp_path, clip):
    """A folder with two clips of 12 frames."""
    (tmp_path / "clip" / "other.mkv").write_bytes(clip.read_bytes())
    return tmp_path / "clip"


def test_clips_are_one_file_a_sequence(vcm, clips, tmp_path, fake):
    run = tmp_path / "run"
    done = vcm("evaluate", "--images", clips, "--dataset", "clip:max=5", "--codec", "fake:90", "jpeg:40", "-o", run)
    assert done.code == 0, done.err
    files = sorted(p.name for p in (run / "streams" / "fake" / "90").iterdir())
    assert files == ["camera.mkv.vcm", "other.mkv.vcm", "point.json"]
    note = json.loads((run / "streams" / "fake" / "90" / "point.json").read_text())
    assert set(note["bytes"]) == set(note["sequences"]) == {"camera.mkv", "other.mkv"}
    assert note["sequences"]["other.mkv"] == [5, 6, 7, 8, 9]
    assert note["pixels"]["camera.mkv"] == 5 * 40 * 56
    record = next(r for r in read_jsonl(run / "records.jsonl") if r.codec == "fake")
    sizes = [(run / "streams" / "fake" / "90" / name).stat().st_size for name in files[:2]]
    assert record.bytes_total == sum(sizes) == sum(note["bytes"].values())
    assert record.rate_bpp == pytest.approx(8 * sum(sizes) / (2 * 5 * 40 * 56))
    assert record.pictures == 10
    assert record.per_sequence["camera.mkv"]["rate_bpp"] == pytest.approx(8 * sizes[0] / (5 * 40 * 56))
    assert record.per_sequence["camera.mkv"]["psnr_db"] == pytest.approx(record.per_sequence["other.mkv"]["psnr_db"])
    stills = next(r for r in read_jsonl(run / "records.jsonl") if r.codec == "jpeg")
    assert len(list((run / "streams" / "jpeg" / "40").rglob("*.jpg"))) == 10
    assert set(stills.per_sequence) == {"camera.mkv", "other.mkv"}
    assert set(stills.per_sequence["camera.mkv"]) == {"psnr_db", "ms_ssim", "rate_bpp"}


def test_frames_are_read_once_a_pass_by_codecs_of_pictures(vcm, clips, tmp_path, monkeypatch):
    """Each frame is a file of its own, but the clip is not opened anew for each."""
    from eval.datasets import reading

    opened = []
    read_clip = reading.read_clip
    monkeypatch.setattr(reading, "read_clip", lambda path: opened.append(path) or read_clip(path))
    done = vcm("evaluate", "--images", clips, "--dataset", "clip", "--codec", "jpeg:40", "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert len(opened) == 2 + 2 * 2  # for the sizes; then two points


def test_a_clip_that_decodes_short_is_refused(vcm, clips, tmp_path, fake, monkeypatch):
    decode = fake.decode_clip
    monkeypatch.setattr(fake, "decode_clip", lambda self, data, start, stop: decode(self, data, start, stop - 1))
    done = vcm("evaluate", "--images", clips, "--dataset", "clip:max=3", "--codec", "fake:90", "-o", tmp_path / "run")
    assert done.code == 1
    assert "decodes to 2 frames, not 3" in done.err


def test_clips_at_the_rates_of_another_codec(vcm, clips, tmp_path, fake):
    run = tmp_path / "run"
    done = vcm("evaluate", "--images", clips, "--dataset", "clip:max=3", "--codec", "fake:90", "webp",
               "--match", "fake", "-o", run)  # fmt: skip
    assert done.code == 0, done.err
    assert {r.codec for r in read_jsonl(run / "records.jsonl")} == {"uncompressed", "fake", "webp"}


def test_streams_of_stills_beside_sequences(tmp_path, fake):
    """Pictures of no sequence have a stream each, whatever the codec can."""
    from eval.datasets import Dataset, Item

    items = [Item(i, f"{i}.png", tmp_path / f"{i}.png", 8, 8, "s" if i > 1 else "", i) for i in range(4)]
    bench = Bench(tmp_path, Dataset("d", tuple(items), rate={"s": Fraction(30000, 1001)}), "")
    streams = bench.streams(fake(50))
    assert [(s.key, len(s.items), s.rate) for s in streams] == [
        ("0", 1, None), ("1", 1, None), ("s", 2, Fraction(30000, 1001))]  # fmt: skip
    assert streams[2].path.name == "s.vcm"


def test_predictions_come_back_as_they_were_kept(tmp_path):
    from eval.datasets import Item

    rng = np.random.default_rng(0)
    items = [Item(i, f"{i}.png", tmp_path, 20, 16) for i in (3, 1, 2)]
    predictions = []
    for i in range(3):
        masks = rng.random((i, 16, 20)) > 0.5  # the first picture has no object
        predictions.append({
            "boxes": rng.random((i, 4)) * 10, "scores": np.sort(rng.random(i))[::-1], "labels": np.arange(i) + 1,
            "masks": masks, "panoptic": rng.integers(0, 2**24, (16, 20)).astype(np.int32),
            "segments": [{"id": 7, "category_id": 3, "isthing": True}],
            "semantic": rng.integers(-1, 300, (16, 20)).astype(np.int32),
        })  # fmt: skip
    with kept.Writer(tmp_path / "p", "a/b") as writer:
        for item, prediction in zip(items, predictions, strict=True):
            writer.add(item, kept.keep(item.id, prediction))
    assert {path.name for path in (tmp_path / "p").iterdir()} == {
        "a-b.json", "a-b.panoptic", "a-b.panoptic.json", "a-b.semantic"}  # fmt: skip
    assert len(json.loads((tmp_path / "p" / "a-b.json").read_text())) == 3
    panoptic = json.loads((tmp_path / "p" / "a-b.panoptic.json").read_text())
    assert [row["file_name"] for row in panoptic["annotations"]] == ["3.png", "1.png", "2.png"]
    read = kept.read(tmp_path / "p", "a/b", items)
    for (item, found), expected, prediction in zip(read, items, predictions, strict=True):
        again = found.prediction()
        assert item == expected
        assert again == {**again, "rows": kept.keep(item.id, prediction).rows}
        assert np.array_equal(again["panoptic"], prediction["panoptic"])
        assert again["panoptic"].dtype == np.int32
        assert np.array_equal(again["semantic"], prediction["semantic"])
        assert again["segments"] == prediction["segments"]


def test_a_model_without_boxes_keeps_no_rows(tmp_path):
    from eval.datasets import Item

    item = Item(1, "1.png", tmp_path, 4, 4)
    with kept.Writer(tmp_path, "maps") as writer:
        writer.add(item, kept.keep(1, {"semantic": np.full((4, 4), -1)}))
    assert [path.name for path in tmp_path.iterdir()] == ["maps.semantic"]
    (_, found), = kept.read(tmp_path, "maps", [item])
    assert set(found.prediction()) == {"semantic"}
