"""`vcm edges`: folders in, folders out; reruns, refusals, interruptions."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from icm.edges.boundaries import edge_map
from icm.edges.segmenters.files import read_label_png
from pipelines import edges_job
from pipelines.cli import main
from pipelines.media import read_picture
from pipelines.run.lock import Lock
from pipelines.run.provenance import sha256_file

ROOT = Path(__file__).resolve().parents[2]


def make(folder: Path, count: int = 6) -> tuple[Path, Path]:
    """`count` pictures of stripes, one of them in a folder below, and their label maps."""
    images, labels = folder / "images", folder / "labels"
    for i in range(count):
        name = f"{'deep/' if i == 1 else ''}p{i:03d}"
        ids = np.zeros((20, 30 + i), np.uint16)
        ids[:, 10:], ids[12:, 5:20] = 257, 1
        for root, suffix, pixels in (
            (images, ".jpg", np.stack([(ids % 7 * 30).astype(np.uint8)] * 3, axis=-1)),
            (labels, ".png", ids),
        ):
            path = (root / name).with_suffix(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return images, labels


def vcm(images: Path, output: Path, labels: Path | str, *words: str) -> int:
    segmenter = f"labels:{labels}" if isinstance(labels, Path) else labels
    return main(["edges", str(images), "-o", str(output), "--segmenter", segmenter, *words])


def rows_of(output: Path) -> list[dict]:
    return lines_of(output / "manifest.jsonl")


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(output: Path) -> dict[str, str]:
    """Every file but run.json (it has a date), by hash."""
    found = sorted(path for path in output.rglob("*") if path.is_file() and path.name != "run.json")
    return {path.relative_to(output).as_posix(): sha256_file(path) for path in found}


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a bad request."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("vcm: ")
    return lines[0]


def test_edge_maps_and_their_manifest(tmp_path):
    images, labels = make(tmp_path)
    assert vcm(images, tmp_path / "out", labels, "--dilate", "3") == 0
    rows = rows_of(tmp_path / "out")
    assert [row["picture"] for row in rows] == sorted(p.relative_to(images).as_posix() for p in images.rglob("*.jpg"))
    for row in rows:
        with Image.open(tmp_path / "out" / row["edges"]) as drawn:
            assert drawn.mode == "L"
            pixels = np.asarray(drawn)
        ids = read_label_png((labels / row["picture"]).with_suffix(".png"))
        assert np.array_equal(pixels, edge_map(ids, dilate=3) * np.uint8(255))
        assert row["picture_sha256"] == sha256_file(images / row["picture"])
        assert row["edges_sha256"] == sha256_file(tmp_path / "out" / row["edges"])
        assert row["edge_fraction"] == pytest.approx((pixels > 0).mean(), abs=1e-6)
        assert (row["width"], row["height"], row["labels"]) == (pixels.shape[1], 20, 2)
        assert (row["segmenter"], row["alpha"], row["checkpoint_sha256"]) == ("labels", None, None)
        assert (row["method"], row["canny"], row["dilate"]) == ("canny", [100, 200], 3)
    assert rows[0]["edges"] == "deep/p001.png"
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["settings"]["labels"] == "labels"
    assert {"versions", "hardware", "commit", "command", "date_utc"} <= record["provenance"].keys()
    assert not list((tmp_path / "out").glob(".*")), "no lock, no journal, no half files"


def test_one_picture(tmp_path):
    images, labels = make(tmp_path, 1)
    assert vcm(images / "p000.jpg", tmp_path / "out", labels) == 0
    assert (tmp_path / "out" / "p000.png").is_file()


def test_a_rerun_does_what_is_missing(tmp_path, capsys):
    images, labels = make(tmp_path)
    out = tmp_path / "out"
    assert vcm(images, out, labels) == 0
    whole = files_of(out)
    times = {name: (out / name).stat().st_mtime_ns for name in whole if name.endswith(".png")}
    assert vcm(images, out, labels) == 0
    assert "0 drawn, 6 already there" in capsys.readouterr().out
    assert times == {name: (out / name).stat().st_mtime_ns for name in times}
    (out / "p000.png").unlink()
    (out / "p002.png").write_bytes(b"")
    (out / "p003.png").write_bytes((out / "p004.png").read_bytes())
    assert vcm(images, out, labels) == 0
    assert "3 drawn, 3 already there" in capsys.readouterr().out
    assert files_of(out) == whole
    Image.fromarray(np.full((20, 35, 3), 9, np.uint8)).save(images / "p005.jpg")
    assert vcm(images, out, labels) == 0
    assert "1 drawn, 5 already there" in capsys.readouterr().out
    changed = files_of(out)
    assert {name for name in whole if whole[name] != changed[name]} == {"manifest.jsonl"}, (
        "the same labels, another hash"
    )


def test_other_settings_in_the_same_folder_are_refused(tmp_path, capsys):
    images, labels = make(tmp_path, 2)
    out = tmp_path / "out"
    assert vcm(images, out, labels) == 0
    before = files_of(out)
    for words, what in (
        (["--dilate", "3"], "dilate 1 there, 3 now"),
        (["--method", "change"], "method canny there, change now"),
        (["--canny", "50,100"], "canny"),
    ):
        capsys.readouterr()
        assert vcm(images, out, labels, *words) == 2
        assert what in told(capsys)
    assert vcm(images, out, "felzenszwalb") == 2
    assert files_of(out) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "p000.png").write_bytes(b"mine")
    capsys.readouterr()
    assert vcm(images, tmp_path / "other", labels) == 2
    assert "no run.json" in told(capsys)
    assert (tmp_path / "other" / "p000.png").read_bytes() == b"mine"


def test_bad_pictures_and_unlabelled_ones_are_listed_and_the_rest_is_done(tmp_path, capsys):
    images, labels = make(tmp_path)
    whole = (images / "p000.jpg").read_bytes()
    (images / "empty.jpg").write_bytes(b"")
    (images / "page.jpg").write_bytes(b"<!doctype html><html></html>")
    (images / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "text.png").write_text("not a picture")
    (images / "unlabelled.jpg").write_bytes(whole)
    (images / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    Image.new("RGB", (5, 5)).save(images / "size.png")
    Image.new("L", (6, 6)).save(labels / "size.png")
    Image.new("RGB", (30, 20)).save(images / "p000.png")  # after p000.jpg: its edge map would have the same name
    assert vcm(images, tmp_path / "out", labels) == 1
    text = capsys.readouterr()
    assert "6 drawn, 0 already there, 8 refused, of 14 pictures" in text.out
    bad = ["cut.jpg", "empty.jpg", "gone.jpg", "p000.png", "page.jpg", "size.png", "text.png", "unlabelled.jpg"]
    refused = {row["picture"]: row["reason"] for row in lines_of(tmp_path / "out" / "refused.jsonl")}
    assert sorted(refused) == bad
    assert all(f"refused {name}: {reason}" in text.err for name, reason in refused.items())
    assert "no labels" in refused["unlabelled.jpg"]
    assert "6x6, the picture is 5x5" in refused["size.png"]
    assert "web page" in refused["page.jpg"]
    assert len(rows_of(tmp_path / "out")) == 6
    for name in bad:
        (images / name).unlink()
    assert vcm(images, tmp_path / "out", labels) == 0
    assert not (tmp_path / "out" / "refused.jsonl").exists()


def test_a_picture_that_went_bad_takes_its_edge_map_with_it(tmp_path):
    images, labels = make(tmp_path, 3)
    assert vcm(images, tmp_path / "out", labels) == 0
    (images / "p002.jpg").write_bytes(b"")
    assert vcm(images, tmp_path / "out", labels) == 1
    assert not (tmp_path / "out" / "p002.png").exists()
    assert len(rows_of(tmp_path / "out")) == 2


def test_workers_give_the_same_files(tmp_path):
    images, labels = make(tmp_path, 12)
    (images / "empty.jpg").write_bytes(b"")
    assert vcm(images, tmp_path / "one", labels, "--preview", "3") == 1
    assert vcm(images, tmp_path / "two", labels, "--preview", "3", "--workers", "2") == 1
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_dry_run_writes_nothing_and_json_is_json(tmp_path, capsys):
    images, labels = make(tmp_path, 3)
    (images / "empty.jpg").write_bytes(b"")
    assert vcm(images, tmp_path / "out", labels, "--dry-run") == 0
    assert "4 planned, 0 already there" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert vcm(images, tmp_path / "out", labels, "--json") == 1
    summary = json.loads(capsys.readouterr().out)
    assert (summary["pictures"], summary["drawn"], summary["refused"]) == (4, 3, 1)
    assert summary["refusals"][0]["picture"] == "empty.jpg"
    assert summary["edge_fraction"]["none"]["pictures"] == 3
    assert vcm(images, tmp_path / "out", labels, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["already_there"] == 3


def test_an_interrupted_run_is_taken_up(tmp_path, monkeypatch):
    images, labels = make(tmp_path)
    assert vcm(images, tmp_path / "whole", labels) == 0
    out, real, calls = tmp_path / "out", edges_job.draw, []

    def draw(item, *rest):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(item.job.name)
        return real(item, *rest)

    monkeypatch.setattr(edges_job, "draw", draw)
    assert vcm(images, out, labels) == 130
    assert not (out / "manifest.jsonl").exists()
    with open(out / ".journal.jsonl", "a") as journal:
        journal.write('[{"picture": "p00')  # a line that the disk never got whole
    (out / ".p003.0123abcd.tmp.png").write_bytes(b"half")
    monkeypatch.setattr(edges_job, "draw", lambda item, *rest: calls.append(item.job.name) or real(item, *rest))
    assert vcm(images, out, labels) == 0
    assert sorted(calls) == sorted(row["picture"] for row in rows_of(out)), "each picture once"
    assert files_of(out) == files_of(tmp_path / "whole")


def test_killed_anywhere_and_run_again_is_as_if_nothing_happened(tmp_path):
    images, labels = make(tmp_path, 40)
    assert vcm(images, tmp_path / "whole", labels) == 0
    out = tmp_path / "out"
    words = ["edges", str(images), "-o", str(out), "--segmenter", f"labels:{labels}"]
    for wanted in (3, 17):
        run = subprocess.Popen([sys.executable, "-m", "pipelines", *words], cwd=ROOT)
        end = time.monotonic() + 120
        while len(list(out.glob("p*.png"))) < wanted and run.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        run.kill()  # nothing where it has ended by itself
        run.wait()
    assert vcm(images, out, labels) == 0
    assert files_of(out) == files_of(tmp_path / "whole")


def test_two_runs_on_one_output(tmp_path, capsys):
    images, labels = make(tmp_path, 2)
    (tmp_path / "out").mkdir()
    with Lock(tmp_path / "out"):
        assert vcm(images, tmp_path / "out", labels) == 2
    assert str(os.getpid()) in told(capsys)


def test_a_full_disk_ends_the_run_in_one_line(tmp_path, monkeypatch, capsys):
    images, labels = make(tmp_path, 3)

    def full(path, data):
        raise OSError(f"{path}: not written: the disk is full; make room or choose another place")

    monkeypatch.setattr(edges_job, "write_bytes", full)
    assert vcm(images, tmp_path / "out", labels) == 2
    assert "disk is full" in told(capsys)
    assert not list((tmp_path / "out").rglob("*.png"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--alpha", "0.9,0.8"], "no scores"),
        (["--dilate", "2"], "odd"),
        (["--canny", "100"], "two thresholds"),
        (["--canny", "a,b"], "not numbers"),
        (["--workers", "0"], "at least 1"),
        (["--option", "annotators"], "KEY=VALUE"),
        (["--option", "colour=1"], "no option 'colour'"),
        (["--engine", "slurm"], "invalid choice: 'slurm'"),
        (["--batch", "0"], "at least 1"),
        (["--reuse", "4"], "is for a clip"),
        (["--reuse", "300"], "0 to 255"),
    ],
)
def test_bad_requests(tmp_path, capsys, words, message):
    images, labels = make(tmp_path, 1)
    try:
        code = vcm(images, tmp_path / "out", labels, *words)
    except SystemExit as end:  # argparse ends so
        code = end.code
    assert code == 2
    assert message in told(capsys)
    assert not (tmp_path / "out").exists()


def test_bad_paths(tmp_path, capsys):
    images, labels = make(tmp_path, 1)
    assert vcm(tmp_path / "none", tmp_path / "out", labels) == 2
    assert "none" in told(capsys)
    assert vcm(images, images, labels) == 2
    assert "holds the pictures" in told(capsys)
    assert vcm(images, tmp_path / "out", "sam:vit_x") == 2
    assert "sam:vit_h" in told(capsys)
    (tmp_path / "empty").mkdir()
    assert vcm(tmp_path / "empty", tmp_path / "out", labels) == 2
    assert "holds no pictures" in told(capsys)
    (tmp_path / "file").write_text("")
    assert vcm(images, tmp_path / "file" / "out", labels) == 2
    assert "file" in told(capsys)
    assert not (tmp_path / "out").exists()


def test_output_below_the_input_is_not_read(tmp_path):
    images, labels = make(tmp_path, 2)
    assert vcm(images, images / "edges", labels) == 0
    assert vcm(images, images / "edges", labels) == 0
    assert len(rows_of(images / "edges")) == 2


def test_the_fallback_announces_itself(tmp_path, capsys):
    images, _ = make(tmp_path, 1)
    assert vcm(images, tmp_path / "out", "felzenszwalb", "--option", "sigma=0", "min_size=10", "--alpha", "0.9") == 0
    errors = capsys.readouterr().err
    assert "offline fallback" in errors
    assert "no effect" in errors
    (row,) = rows_of(tmp_path / "out")
    assert row["offline_fallback"] is True
    assert row["alpha"] is None


def test_alphas_get_a_folder_each(tmp_path, monkeypatch, capsys):
    import torch

    from tests.icm.edges.tiny_sam import tiny_sam

    monkeypatch.setitem(__import__("segment_anything").sam_model_registry, "vit_b", lambda checkpoint: tiny_sam(seed=9))
    torch.save(tiny_sam().state_dict(), tmp_path / "tiny.pth")
    images, _ = make(tmp_path, 2)
    words = ["--sam-checkpoint", str(tmp_path / "tiny.pth"), "--device", "cpu", "--option", "points_per_side=3",
             "stability_score_thresh=0", "box_nms_thresh=0.9"]  # fmt: skip
    assert vcm(images, tmp_path / "out", "sam:vit_b", "--alpha", "0.78,0.5", "--preview", "1", *words) == 0
    rows = rows_of(tmp_path / "out")
    assert [(row["picture"], row["edges"], row["alpha"]) for row in rows] == [
        ("deep/p001.jpg", "alpha-0.78/deep/p001.png", 0.78), ("deep/p001.jpg", "alpha-0.5/deep/p001.png", 0.5),
        ("p000.jpg", "alpha-0.78/p000.png", 0.78), ("p000.jpg", "alpha-0.5/p000.png", 0.5),
    ]  # fmt: skip
    assert {row["checkpoint_sha256"] for row in rows} == {sha256_file(tmp_path / "tiny.pth")}
    assert rows[1]["labels"] > rows[0]["labels"]
    torch.save({"a": torch.zeros(2)}, tmp_path / "bad.pth")
    capsys.readouterr()
    assert vcm(images, tmp_path / "bad", "sam:vit_b", "--sam-checkpoint", str(tmp_path / "bad.pth")) == 2
    assert "bad.pth: not weights of Segment Anything vit_b" in told(capsys)
    assert vcm(images, tmp_path / "bad", "sam:vit_b", *words, "--device", "gpu") == 2
    assert "--device gpu: cannot be used" in told(capsys)
    assert vcm(images / "p000.jpg", tmp_path / "one", "sam:vit_b", "--alpha", "0.78", *words) == 0
    assert rows_of(tmp_path / "one")[0]["edges_sha256"] == rows[2]["edges_sha256"]


def test_without_weights_one_line_says_what_to_fetch(tmp_path, monkeypatch, capsys):
    import urllib.error
    import urllib.request

    def offline(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("VCM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    images, _ = make(tmp_path, 1)
    assert vcm(images, tmp_path / "out", "sam:vit_b", "--dry-run") == 0
    capsys.readouterr()
    assert vcm(images, tmp_path / "out", "sam:vit_b") == 2
    text = told(capsys)
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth" in text
    assert str(tmp_path / "cache") in text


def test_coco128_train_lists_its_28_unlabelled_pictures(shared, tmp_path, capsys):
    data = shared / "data/coco128"
    out = tmp_path / "out"
    assert vcm(data / "images/train", out, data / "annotations/panoptic_train.json", "--preview", "3") == 1
    assert "100 drawn, 0 already there, 28 refused, of 128 pictures" in capsys.readouterr().out
    labelled = {
        image["file_name"] for image in json.loads((data / "annotations/panoptic_train.json").read_text())["images"]
    }
    refused = lines_of(out / "refused.jsonl")
    assert {row["picture"] for row in refused} == {p.name for p in (data / "images/train").glob("*.jpg")} - labelled
    assert all("no labels" in row["reason"] for row in refused)
    fractions = [row["edge_fraction"] for row in rows_of(out)]
    assert 0.01 < np.mean(fractions) < 0.03
    assert read_picture(out / "preview" / "sheet.png").shape[1] > 300


def test_coco_instances_and_bsds(shared, tmp_path):
    data = shared / "data"
    labels = data / "coco128/annotations/instances_train.json"
    assert vcm(data / "coco128/images/train/000000000009.jpg", tmp_path / "coco", labels) == 0
    assert rows_of(tmp_path / "coco")[0]["labels"] >= 5
    pictures = tmp_path / "bsds"
    for part in ("train", "val"):
        for path in sorted((data / "bsds500/images" / part).glob("*.jpg"))[:3]:
            (pictures / part).mkdir(parents=True, exist_ok=True)
            (pictures / part / path.name).symlink_to(path)
    assert vcm(pictures, tmp_path / "out", data / "bsds500/groundTruth") == 0
    assert all(0.005 < row["edge_fraction"] < 0.15 for row in rows_of(tmp_path / "out"))
