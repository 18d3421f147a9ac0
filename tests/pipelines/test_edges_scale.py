"""`vcm edges` at scale: batches, engines, clips; many bad files among good ones, killed again and again."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipelines import edges_job
from pipelines.cli import main
from pipelines.clips_out import writing
from pipelines.edges_clip import block_means, moved
from pipelines.run import engines
from tests.icm.edges.tiny_sam import tiny_sam
from tests.pipelines.failing import make_failing
from tests.pipelines.test_edges import ROOT, files_of, lines_of, make, rows_of, told, vcm

FEW = ["--device", "cpu", "--option", "points_per_side=3", "stability_score_thresh=0", "box_nms_thresh=0.9"]


@pytest.fixture
def sam(tmp_path, monkeypatch) -> list[str]:
    """Words that choose a tiny model, its weights in a file."""
    import torch

    monkeypatch.setitem(__import__("segment_anything").sam_model_registry, "vit_b", lambda checkpoint: tiny_sam(seed=9))
    torch.save(tiny_sam().state_dict(), tmp_path / "tiny.pth")
    return ["--sam-checkpoint", str(tmp_path / "tiny.pth"), *FEW]


def test_a_batch_is_drawn_whole_or_again(tmp_path, sam, monkeypatch):
    images, _ = make(tmp_path, 7)
    (images / "p003.jpg").write_bytes(b"")
    words = [*sam, "--alpha", "0.5,0.55", "--batch", "3"]
    assert vcm(images, tmp_path / "whole", "sam:vit_b", *words) == 1
    rows = rows_of(tmp_path / "whole")
    assert len(rows) == 12
    assert all(row["masks"] >= row["labels"] > 0 for row in rows if row["alpha"] == 0.5)
    assert [row["masks"] for row in rows if row["alpha"] == 0.5] > [row["masks"] for row in rows if row["alpha"] > 0.5]
    assert rows[0]["thresholds"]["stability_score_thresh"] == 0
    out, real, calls = tmp_path / "out", edges_job.draw, []

    def draw(item, *rest):
        calls.append(item.job.name)
        if len(calls) == 5:  # in the middle of the second batch
            raise KeyboardInterrupt
        return real(item, *rest)

    monkeypatch.setattr(edges_job, "draw", draw)
    assert vcm(images, out, "sam:vit_b", *words) == 130
    noted = [rows[0]["picture"] for line in lines_of(out / ".journal.jsonl") for rows in line]
    assert noted == calls[:3]
    monkeypatch.setattr(edges_job, "draw", lambda item, *rest: calls.append(item.job.name) or real(item, *rest))
    assert vcm(images, out, "sam:vit_b", *words) == 1
    assert calls[5:] == ["p002.jpg", "p004.jpg", "p005.jpg", "p006.jpg"] or len(calls) == 5 + 3
    assert files_of(out) == files_of(tmp_path / "whole")
    before = files_of(out)
    (out / "alpha-0.5" / "p000.png").unlink()
    assert vcm(images, out, "sam:vit_b", *words) == 1
    assert files_of(out) == before


def test_reading_goes_ahead_and_not_too_far():
    read, used = [], []

    def load(item: int) -> int:
        read.append(item)
        return item

    for item in engines.ahead(range(20), load, depth=2):
        used.append(item)
        time.sleep(0.002)
        assert len(read) <= len(used) + 3
    assert used == list(range(20))
    with pytest.raises(ValueError, match="seven"):
        list(engines.ahead(range(9), lambda item: item if item != 7 else _fail("seven")))


def _fail(text: str) -> int:
    raise ValueError(text)


def assert_errors_arrive(engine: str) -> None:
    results = engines.spread([0, 1, 3], make_failing, engine, 1)
    with pytest.raises(ValueError, match="three is bad"):
        list(results)
    with pytest.raises(engines.WorkerDied, match="fewer --workers"):
        list(engines.spread([0, 5], make_failing, engine, 1))


def test_errors_of_workers_are_raised_here():
    assert_errors_arrive("local")


RAY = """
import sys, ray
from pipelines.cli import main
from tests.pipelines.test_edges_scale import assert_errors_arrive
code = main(sys.argv[1:])
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
assert_errors_arrive("ray")
sys.exit(code)
"""


@pytest.mark.slow
def test_ray_writes_what_local_writes(tmp_path):
    if not (importlib.util.find_spec("ray") and importlib.util.find_spec("pyarrow")):
        pytest.skip("needs ray: pip install 'ray[data]<2.64' 'pyarrow<26'")
    images, _ = make(tmp_path, 9)
    (images / "bad.jpg").write_bytes(b"<html>")
    words = ["--segmenter", "felzenszwalb", "--option", "min_size=10", "--batch", "2", "--preview", "2"]
    assert main(["edges", str(images), "-o", str(tmp_path / "local"), *words]) == 1
    # in a process of its own: Ray leaves threads and sockets to the garbage collector
    words = ["edges", str(images), "-o", str(tmp_path / "ray"), *words, "--engine", "ray", "--workers", "2"]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", RAY, *words], cwd=ROOT, capture_output=True, text=True)
    if "Ray did not start" in done.stderr:
        pytest.skip("Ray's own processes did not answer in 30 s: the machine is too busy")
    assert done.returncode == 1, done.stderr
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    images, labels = make(tmp_path, 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert vcm(images, tmp_path / "out", labels, "--engine", "ray") == 2
    assert "pip install 'ray[data]<2.64'" in told(capsys)


def write_clip(path: Path, count: int = 8) -> None:
    """48x64, noise in every pixel; a square moves in frames 3 and 4 and stays."""
    rng = np.random.default_rng(0)
    back = rng.integers(60, 120, (6, 8, 3)).repeat(8, 0).repeat(8, 1)
    with writing(path, Fraction(10)) as writer:
        for i in range(count):
            picture = back + rng.integers(-2, 3, back.shape)
            at = min(max(i, 2), 4) * 8
            picture[8:24, at : at + 16] = 240
            writer.add(picture.astype(np.uint8), Fraction(i, 10), i)


def test_a_clip_gives_an_edge_map_a_frame(tmp_path, capsys):
    clip = tmp_path / "clip.mkv"
    write_clip(clip)
    words = ["--option", "min_size=20", "scale=50"]
    assert vcm(clip, tmp_path / "all", "felzenszwalb", *words, "--preview", "2") == 0
    assert "8 drawn, 0 already there" in capsys.readouterr().out
    rows = rows_of(tmp_path / "all")
    assert [row["edges"] for row in rows] == [f"{i:06d}.png" for i in range(8)]
    assert [row["time_s"] for row in rows] == [i / 10 for i in range(8)]
    assert all(row["reused_from"] is None for row in rows)
    assert (tmp_path / "all" / "preview" / "sheet.png").is_file()

    assert vcm(clip, tmp_path / "some", "felzenszwalb", *words, "--reuse", "6") == 0
    reused = {row["frame"]: row["reused_from"] for row in rows_of(tmp_path / "some")}
    assert reused == {0: None, 1: 0, 2: 0, 3: None, 4: None, 5: 4, 6: 4, 7: 4}
    assert vcm(clip, tmp_path / "batches", "felzenszwalb", *words, "--reuse", "6", "--batch", "2") == 0
    for name in ("some", "batches"):
        for i in range(8):
            source = tmp_path / "all" / f"{reused[i] if reused[i] is not None else i:06d}.png"
            assert (tmp_path / name / f"{i:06d}.png").read_bytes() == source.read_bytes()

    whole = files_of(tmp_path / "some")
    for name in ("000004.png", "000006.png"):
        (tmp_path / "some" / name).unlink()
    capsys.readouterr()
    assert vcm(clip, tmp_path / "some", "felzenszwalb", *words, "--reuse", "6") == 0
    assert "2 drawn, 6 already there" in capsys.readouterr().out
    assert files_of(tmp_path / "some") == whole
    write_clip(clip, 5)
    assert vcm(clip, tmp_path / "some", "felzenszwalb", *words, "--reuse", "6") == 0
    assert len(rows_of(tmp_path / "some")) == 5
    assert not (tmp_path / "some" / "000007.png").exists()


def test_what_counts_as_still():
    rng = np.random.default_rng(1)
    still = rng.integers(50, 200, (45, 70, 3)).astype(np.uint8)
    noisy = np.clip(still.astype(int) + rng.integers(-6, 7, still.shape), 0, 255).astype(np.uint8)
    small = still.copy()
    small[20:26, 30:36] = 255
    assert not moved(block_means(noisy), block_means(still), 4)
    assert moved(block_means(small), block_means(still), 4)
    assert moved(block_means(small), block_means(still), 0)
    assert not moved(block_means(still), block_means(still), 0)


def test_bad_clips(tmp_path, capsys):
    clip = tmp_path / "clip.mkv"
    write_clip(clip)
    for words, message in ((["--workers", "2"], "one process"), (["--engine", "ray"], "one process")):
        assert vcm(clip, tmp_path / "out", "felzenszwalb", *words) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "page.mp4").write_bytes(b"<!doctype html>")
    assert vcm(tmp_path / "page.mp4", tmp_path / "out", "felzenszwalb") == 2
    assert "web page" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    whole = clip.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    assert vcm(tmp_path / "cut.mkv", tmp_path / "out", "felzenszwalb") == 1
    assert 0 < len(rows_of(tmp_path / "out")) < 8
    assert "cut.mkv" in lines_of(tmp_path / "out" / "refused.jsonl")[0]["picture"]


def plant(images: Path, count: int, rng: random.Random) -> set[str]:
    """`count` files that are not whole pictures, of every kind in turn, among the good ones; their names."""
    whole = sorted(images.rglob("*.jpg"))[0].read_bytes()
    names = set()
    for i in range(count):
        name = f"bad{rng.randrange(10**6):06d}-{i}.jpg"
        path = images / name
        if i % 5 == 4:
            path.symlink_to(images / "nowhere.jpg")
        else:
            path.write_bytes([b"", b"<!doctype html><html>", whole[: len(whole) // 2], bytes(300)][i % 5])
        names.add(name)
    return names


def test_killed_often_with_bad_files_among_good_ones(tmp_path):
    images, labels = make(tmp_path, 60)
    rng = random.Random(0)
    bad = plant(images, 20, rng)
    assert vcm(images, tmp_path / "whole", labels, "--batch", "4") == 1
    assert {row["picture"] for row in lines_of(tmp_path / "whole" / "refused.jsonl")} == bad
    out = tmp_path / "out"
    words = ["edges", str(images), "-o", str(out), "--segmenter", f"labels:{labels}", "--batch", "4"]
    for _ in range(4):
        before = len(list(out.rglob("p*.png")))
        run = subprocess.Popen([sys.executable, "-m", "pipelines", *words], cwd=ROOT, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while len(list(out.rglob("p*.png"))) < before + 5 and run.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.01)
        run.kill()  # nothing where it has ended by itself
        run.wait()
    assert main(words) == 1
    assert files_of(out) == files_of(tmp_path / "whole")
    assert json.loads((out / "run.json").read_text())["settings"]["batch"] == 4
