"""vcm evaluate: figures come from the files on disk, nothing is done twice, bad requests are one line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import eval.models
from eval.anchors import ANCHORS
from eval.datasets.folder import SUFFIXES, folder
from eval.records import read_csv, read_jsonl
from pipelines.codecs import build, label, parse, split, table
from pipelines.matching import nearest
from pipelines.media import PICTURES, list_pictures
from tests.eval.tiny import tiny_files
from tests.pipelines.tiny_model import TinyModel


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Words of a request for the tiny data set and model, up to codecs and output."""
    images, annotations = tiny_files(tmp_path / "data")
    monkeypatch.setitem(eval.models.MODELS, "tiny", TinyModel)
    monkeypatch.setattr(TinyModel, "calls", 0)
    return ["evaluate", "--images", images, "--annotations", annotations, "--model", "tiny"]


def test_points_are_measured_from_files(vcm, tiny, tmp_path):
    run = tmp_path / "run"
    done = vcm(*tiny, "--task", "detection,instances", "--codec", "jpeg:5,95", "x265:30", "-o", run)
    assert done.code == 0, done.err
    records = read_jsonl(run / "records.jsonl")
    assert [(r.codec, r.quality, r.task) for r in records] == [
        (codec, quality, task)
        for codec, quality in (("uncompressed", 0), ("jpeg", 5), ("jpeg", 95), ("x265", 30))
        for task in ("detection", "instances")
    ]
    for record in records:
        folder = run / "streams" / record.codec / f"{record.quality:g}"
        sizes = [path.stat().st_size for path in folder.iterdir() if path.name != "point.json"]
        assert len(sizes) == record.pictures == 2
        assert sum(sizes) == record.bytes_total
        assert record.rate_bpp == pytest.approx(8 * sum(sizes) / (2 * 48 * 64))
        rows = json.loads((run / "predictions" / record.codec / f"{record.quality:g}" / "tiny.json").read_text())
        assert set(rows[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}
    ceiling, worst, best = records[0], records[2], records[4]
    assert (ceiling.ap, ceiling.psnr_db, ceiling.ms_ssim) == (pytest.approx(100), 100.0, pytest.approx(1))
    assert worst.ap < best.ap <= 100
    assert worst.psnr_db < best.psnr_db
    assert read_csv(run / "records.csv") == records
    assert TinyModel.calls == 1 + 4 * 2  # one grey picture at the start; then once a picture and point, not a task
    assert "jpeg:95" in done.out


def test_the_decoded_frames_are_those_of_the_files(vcm, tiny, tmp_path):
    """A stream exchanged on disk changes the figures: nothing is kept in memory from encoding."""
    run = tmp_path / "run"
    words = [*tiny, "--task", "detection", "--codec", "jpeg:95", "-o", run]
    assert vcm(*words).code == 0
    before = read_jsonl(run / "records.jsonl")[1]
    folder = run / "streams" / "jpeg" / "95"
    first, _ = sorted(folder.glob("*.jpg"))
    size = first.stat().st_size
    grey = ANCHORS["jpeg"](50).encode(np.full((48, 64, 3), 90, np.uint8))
    first.write_bytes(grey + b"\0" * (size - len(grey)))  # same size, so the streams count as done
    shutil.rmtree(run / "predictions")
    (run / "records.jsonl").unlink()
    assert vcm(*words, "--resume").code == 0
    after = read_jsonl(run / "records.jsonl")[1]
    assert after.ap < before.ap
    assert after.psnr_db < before.psnr_db


def test_resume_does_only_what_is_missing(vcm, tiny, tmp_path, monkeypatch):
    run = tmp_path / "run"
    words = [*tiny, "--codec", "webp:10,80", "-o", run]
    assert vcm(*words, "--task", "detection").code == 0
    first, calls = read_jsonl(run / "records.jsonl"), TinyModel.calls
    refused = vcm(*words, "--task", "detection")
    assert (refused.code, "--resume" in refused.err) == (2, True)
    # a second task: neither encoded, nor decoded, nor predicted
    monkeypatch.setattr("eval.anchors.still.Pillow.encode", None)
    monkeypatch.setattr("eval.anchors.still.Pillow.decode", None)
    assert vcm(*words, "--task", "detection,instances", "--resume").code == 0
    both = read_jsonl(run / "records.jsonl")
    assert TinyModel.calls == calls
    assert [r.task for r in both] == ["detection", "instances"] * 3
    assert {r.settings for r in first} < {r.settings for r in both}
    # nothing missing: nothing changes
    text = (run / "records.jsonl").read_bytes()
    done = vcm(*words, "--task", "detection,instances", "--resume")
    assert done.out.count("done before") == 3
    assert (run / "records.jsonl").read_bytes() == text


def darker(path):
    from PIL import Image

    Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)


@pytest.mark.parametrize("change", ["pictures", "labels", "limit"])
def test_resume_refuses_other_contents(vcm, tiny, tmp_path, change):
    run = tmp_path / "run"
    words = [*tiny, "--task", "detection", "-o", run]
    assert vcm(*words, "--codec", "webp:50").code == 0
    before = [(run / name).read_bytes() for name in ("records.jsonl", "config.yaml", "run.json")]
    if change == "pictures":
        darker(tmp_path / "data" / "images" / "picture0.png")
    elif change == "labels":
        path = tmp_path / "data" / "instances.json"
        read = json.loads(path.read_text())
        read["annotations"][0]["bbox"][0] += 1
        path.write_text(json.dumps(read))
    done = vcm(*words, *(["--limit", "1"] if change == "limit" else []), "--codec", "webp:80", "--resume")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "of other pictures or labels" in done.err
    assert "choose another -o" in done.err
    assert before == [(run / name).read_bytes() for name in ("records.jsonl", "config.yaml", "run.json")]


def test_two_folders_called_images_are_two_data_sets(vcm, tmp_path):
    one, other = (tiny_files(tmp_path / name)[0] for name in "ab")
    darker(other / "picture0.png")
    assert one.name == other.name
    assert vcm("evaluate", "--images", one, "--codec", "jpeg:10,20", "-o", tmp_path / "run").code == 0
    done = vcm("evaluate", "--images", other, "--codec", "jpeg:40,60", "-o", tmp_path / "run", "--resume")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert {r.quality for r in read_csv(tmp_path / "run" / "records.csv")} == {0, 10, 20}
    assert vcm("evaluate", "--images", other, "--codec", "jpeg:40", "-o", tmp_path / "more").code == 0
    contents = [{r.content for r in read_jsonl(tmp_path / name / "records.jsonl")} for name in ("run", "more")]
    assert contents[0].isdisjoint(contents[1])
    assert [len(content) for content in contents] == [1, 1]


def test_records_name_the_weights(vcm, tiny, tmp_path, monkeypatch):
    """The codec's own, in its records alone, and those of the task model; a resumed run keeps both sets apart."""
    from icm.codecs.release import Release
    from tests.icm.conftest import tiny_network

    hashes = []
    for seed in (0, 1):
        network = tiny_network(seed)
        network.use_integers()
        release = Release.from_model(network)
        release.save(tmp_path / f"{seed}.safetensors")
        hashes.append(release.hash.hex())
    run = tmp_path / "run"
    for seed, quality in enumerate((20, 40)):
        done = vcm(*tiny, "--task", "detection", "--codec", f"sa-icm-s:{quality}", "--weights",
                   tmp_path / f"{seed}.safetensors", "-o", run, "--resume")  # fmt: skip
        assert done.code == 0, done.err
    records = {(r.codec, r.quality): r for r in read_jsonl(run / "records.jsonl")}
    assert [r.weights for r in records.values()] == ["", *hashes]
    assert {r.model_weights for r in records.values()} == {""}  # the tiny model has none
    monkeypatch.setitem(eval.models.MODELS, "tiny", lambda weights=None: TinyModel())
    (tmp_path / "tiny.pt").write_bytes(b"weights")
    done = vcm(*tiny, "--model-weights", tmp_path / "tiny.pt", "--task", "detection", "--codec", "jpeg:5",
               "-o", tmp_path / "other")  # fmt: skip
    assert done.code == 0, done.err
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert {r.model_weights for r in read_jsonl(tmp_path / "other" / "records.jsonl")} == {sha256}


def test_threads_are_recorded(vcm, tiny, tmp_path, fake):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert vcm(*tiny, "--task", "detection", "--codec", "jpeg:5", "fake:9", "-o", tmp_path / "run").code == 0
    finally:
        torch.set_num_threads(before)
    found = {r.codec: (r.encode_threads, r.decode_threads) for r in read_jsonl(tmp_path / "run" / "records.jsonl")}
    assert found == {"uncompressed": (1, 1), "jpeg": (1, 1), "fake": (3, 3)}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["hardware"]["torch_threads"] == 3


def test_pictures_without_objects_have_no_ap(vcm, tiny, tmp_path):
    path = tmp_path / "data" / "instances.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    done = vcm(*tiny, "--task", "detection", "--codec", "jpeg:5", "-o", tmp_path / "run")
    assert done.code == 0, done.err
    assert "detection AP n/a" in done.out
    records = read_jsonl(tmp_path / "run" / "records.jsonl")
    assert [(r.task, r.ap, r.ap50) for r in records] == [("detection", None, None)] * 2


def test_the_run_folder_reproduces_itself(vcm, tiny, tmp_path):
    run, again = tmp_path / "run", tmp_path / "again"
    assert vcm(*tiny, "--task", "instances", "--codec", "jpeg:40", "--seed", "7", "-o", run).code == 0
    assert yaml.safe_load((run / "config.yaml").read_text())["codecs"] == ["jpeg:40"]
    assert vcm("evaluate", run / "config.yaml", "-o", again).code == 0
    keys = ("codec", "bytes_total", "ap", "ap50", "psnr_db", "seed", "settings")
    one, two = ([[getattr(r, k) for k in keys] for r in read_jsonl(f / "records.jsonl")] for f in (run, again))
    assert one == two
    about = json.loads((run / "run.json").read_text())
    assert {"versions", "hardware", "commit", "command", "date_utc", "settings", "content"} <= set(about)


def test_a_run_can_be_repeated_from_any_folder(vcm, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "--images", "data/images", "--annotations", "data/instances.json", "--model", "tiny"]
    assert vcm(*words, "--task", "detection", "--codec", "jpeg:40", "-o", "run").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = vcm("evaluate", "../run/config.yaml", "-o", "again")
    assert done.code == 0, done.err
    one, two = (read_jsonl(tmp_path / f / "records.jsonl") for f in ("run", "elsewhere/again"))
    assert [r.settings for r in one] == [r.settings for r in two]


def test_weights_by_path_become_absolute_and_names_stay(tmp_path, monkeypatch):
    from pipelines.evaluate import Settings, absolute

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.safetensors").touch()
    monkeypatch.setattr("icm.codecs.release.find", lambda name: tmp_path / "shipped" if name == "lic-s" else Path(name))
    given = Settings("pictures", ["jpeg:5"], weights={"sa-icm-s": "mine.safetensors", "lic-s": "lic-s"})
    made = absolute(given)
    assert made.images == str(tmp_path / "pictures")
    assert made.annotations is None
    assert made.weights == {"sa-icm-s": str(tmp_path / "mine.safetensors"), "lic-s": "lic-s"}


def test_variables_in_a_configuration(vcm, tmp_path, monkeypatch):
    tiny_files(tmp_path / "data")
    monkeypatch.setenv("VCM_SHARED", str(tmp_path))
    (tmp_path / "a.yaml").write_text("images: $VCM_SHARED/data/images\ncodecs: [jpeg:5]\n")
    done = vcm("evaluate", tmp_path / "a.yaml", "-o", tmp_path / "run")
    assert done.code == 0, done.err


def test_folders_are_read_as_encode_reads_them(vcm, tmp_path):
    images, _ = tiny_files(tmp_path)
    (images / "below" / ".hidden").mkdir(parents=True)
    shutil.copy(images / "picture0.png", images / "below")
    shutil.copy(images / "picture0.png", images / "below" / ".hidden")
    assert vcm("evaluate", "--images", images, "--codec", "jpeg:50", "-o", tmp_path / "run").code == 0
    streams = tmp_path / "run" / "streams" / "jpeg" / "50"
    assert {path.relative_to(streams).as_posix() for path in streams.rglob("*.jpg")} == {
        "below/picture0.jpg", "picture0.jpg", "picture1.jpg"}  # fmt: skip
    assert SUFFIXES == PICTURES
    assert [item.path for item in folder(images).items] == list_pictures(images)


def test_without_labels_fidelity_only(vcm, tmp_path):
    images, _ = tiny_files(tmp_path)
    assert vcm("evaluate", "--images", images, "--codec", "webp:30", "-o", tmp_path / "run").code == 0
    records = read_jsonl(tmp_path / "run" / "records.jsonl")
    assert [(r.task, r.ap) for r in records] == [("fidelity", None)] * 2
    assert records[1].psnr_db > 20


def test_anchors_at_matched_rates(vcm, tiny, tmp_path):
    run = tmp_path / "run"
    done = vcm(*tiny, "--task", "detection", "--codec", "webp:20,90", "jpeg", "x265", "--match", "webp", "-o", run)
    assert done.code == 0, done.err
    records = read_jsonl(run / "records.jsonl")
    for name in ("jpeg", "x265"):
        found = [r for r in records if r.codec == name]
        low, high = ANCHORS[name]().qualities
        pictures = [
            parse("uncompressed").decode(p.read_bytes()) for p in (run / "streams/uncompressed/0").glob("*.ppm")
        ]
        sizes = {q: sum(len(ANCHORS[name](q).encode(p)) for p in pictures) for q in range(low, high + 1)}
        for target in (r.bytes_total for r in records if r.codec == "webp"):
            best = min(abs(size - target) for size in sizes.values())
            assert min(abs(r.bytes_total - target) for r in found) <= 1.25 * best + 8
        kept = {path.name for path in (run / "streams" / name).iterdir() if path.is_dir()}
        assert kept == {f"{r.quality:g}" for r in found}  # those tried on the way are gone
    assert vcm(*tiny, "--task", "detection", "--codec", "webp:20,90", "jpeg", "x265", "--match", "webp", "-o", run,
               "--resume").out.count("done before") == len(records)  # fmt: skip


def test_nearest_is_the_nearest():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = np.cumsum(rng.integers(1, 50, 40))
        noisy = np.maximum.accumulate(sizes // 3 + rng.integers(-8, 8, 40))  # what a few pictures tell
        target = int(rng.integers(-10, sizes[-1] + 50))
        asked = []

        def exact(rung, sizes=sizes, asked=asked):
            asked.append(rung)
            return int(sizes[rung])

        found = nearest(list(range(40)), lambda rung, noisy=noisy: int(noisy[rung]), exact, target // 3, target)
        assert abs(sizes[found] - target) == np.abs(sizes - target).min()
        assert len(set(asked)) < 25


def test_unreadable_pictures_are_left_out_and_listed(vcm, tiny, tmp_path):
    (tmp_path / "data" / "images" / "picture1.png").write_bytes(b"\x89PNG no more")
    done = vcm(*tiny, "--task", "detection", "--codec", "jpeg:50", "-o", tmp_path / "run")
    assert done.code == 1
    assert "refused" in done.err
    assert "picture1.png" in done.err
    assert [r.pictures for r in read_jsonl(tmp_path / "run" / "records.jsonl")] == [1, 1]


def test_a_point_that_fails_does_not_stop_the_others(vcm, tiny, tmp_path, monkeypatch):
    from eval.anchors.still import Pillow

    encode = Pillow.encode

    def moody(self, picture):
        if self.quality == 20:
            raise ValueError("not today")
        return encode(self, picture)

    monkeypatch.setattr(Pillow, "encode", moody)
    done = vcm(*tiny, "--task", "detection", "--codec", "webp:10,20,30", "-o", tmp_path / "run")
    assert done.code == 1
    assert "refused webp:20: not today" in done.err
    assert [r.quality for r in read_jsonl(tmp_path / "run" / "records.jsonl")] == [0, 10, 30]


def test_pictures_that_differ_by_suffix_alone(vcm, tmp_path):
    images, _ = tiny_files(tmp_path)
    shutil.copy(images / "picture0.png", images / "picture0.bmp")
    assert vcm("evaluate", "--images", images, "--codec", "jpeg:50", "-o", tmp_path / "run").code == 0
    names = {path.name for path in (tmp_path / "run" / "streams" / "jpeg" / "50").glob("*.jpg")}
    assert names == {"picture0.png.jpg", "picture0.bmp.jpg", "picture1.jpg"}


@pytest.mark.parametrize(("words", "says"), [
    (["--codec", "x266:30"], "unknown codec 'x266' (did you mean x26"),
    (["--codec", "x265:many"], "'many' is not a number"),
    (["--codec", "x265:99"], "from 0 to 51"),
    (["--codec", "sa-icm-s:30", "--weights", "none.safetensors"], "none.safetensors"),
    (["--codec", "x265"], "--match"),
    (["--codec", "x265", "--match", "webp"], "give it qualities too"),
    (["--codec", "x265:30", "--model", "mask-rcnn"], "unknown task model"),
    (["--codec", "x265:30", "--task", "pose"], "known: detection, instances, keypoints"),
    (["--codec", "x265:30", "--model-weights", "none.pt"], "tiny has no weights"),
    (["--codec", "x265:30", "--dataset", "imagenet"], "known: coco, cityscapes"),
    (["--codec", "x265:30", "--limit", "0"], "at least one"),
    (["--codec", "x265:30", "--weights", "sa-icm-s=a.safetensors"], "no codec of that name, with weights"),
    (["--codec", "x265:30", "--weights", "x265=a.safetensors"], "no codec of that name, with weights"),
    ([], "give --codec"),
])  # fmt: skip
def test_bad_requests_are_one_line(vcm, tiny, tmp_path, words, says):
    task = [] if "--task" in words else ["--task", "detection"]
    done = vcm(*tiny, *task, *words, "-o", tmp_path / "run")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err


def test_unknown_keys_of_a_configuration(vcm, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("images: here\ncodecs: [jpeg:5]\ncodec: jpeg\n")
    done = vcm("evaluate", config, "-o", tmp_path / "run")
    assert done.code == 2
    assert "unknown key codec (did you mean codecs?)" in done.err


def test_dry_run_writes_nothing(vcm, tiny, tmp_path):
    done = vcm(
        *tiny,
        "--task",
        "detection",
        "--codec",
        "webp:20",
        "x265",
        "--match",
        "webp",
        "-o",
        tmp_path / "run",
        "--dry-run",
    )
    assert done.code == 0
    assert "webp:20" in done.out
    assert "x265 at the rates of webp" in done.out
    assert not (tmp_path / "run").exists()


def test_names():
    assert {"sa-icm-s", "lic-s", "jpeg", "webp", "x265", "svtav1", "uncompressed"} <= set(table())
    assert split("x265:30,37") == ("x265", [30.0, 37.0])
    assert (parse("x265:37").quality, parse("x265").name, build("webp", 5).quality) == (37, "x265", 5)
    assert (label("x265", 37.0), label("fake", 2.5), label("uncompressed", 0)) == (
        "x265:37",
        "fake:2.5",
        "uncompressed",
    )
    with pytest.raises(ValueError, match="one quality"):
        parse("x265:30,37")
