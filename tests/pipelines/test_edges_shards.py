"""`vcm edges --output-format webdataset`: shards that tarfile and WebDataset read, the same whatever befell the run."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.cli import main
from pipelines.edges_shards import key
from tests.pipelines.test_edges import ROOT, files_of, make, rows_of, told, vcm
from tests.pipelines.test_edges_scale import sam  # noqa: F401 (a fixture)

TAR = ["--output-format", "webdataset"]


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        assert all((m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) == (0, 0, 0, "", "", 0o644) for m in tar)
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_shards_hold_what_folders_hold(tmp_path):
    images, labels = make(tmp_path, 7)
    os.rename(images / "p003.jpg", images / "p.00%3.jpg")
    os.rename(labels / "p003.png", labels / "p.00%3.png")
    (images / "p005.jpg").write_bytes(b"")
    assert vcm(images, tmp_path / "folder", labels, "--batch", "2") == 1
    out = tmp_path / "shards"
    assert vcm(images, out, labels, "--batch", "2", *TAR, "--shard", "3") == 1  # whole batches: 4 pictures a shard
    assert [path.name for path in sorted(out.glob("*.tar"))] == ["000000.tar", "000001.tar"]
    assert not list(out.rglob("*.png"))
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(out.glob("*.tar")):
        order = []
        for name, data in members(path).items():  # as webdataset.tariterators.base_plus_ext splits it
            stem, extension = re.match(r"^((?:.*/|)[^.]+)[.]([^/]*)$", name).groups()
            samples.setdefault(stem, {})[extension] = data
            order.append(stem)
        assert order == sorted(order)
        assert order[::2] == order[1::2]
    rows, plain = rows_of(out), {row["picture"]: row for row in rows_of(tmp_path / "folder")}
    assert len(rows) == len(samples) == 6
    for row in rows:
        sample = samples[key(row["picture"])]
        assert json.loads(sample["json"]) == row
        old = plain[row["picture"]]
        assert sample["png"] == (tmp_path / "folder" / old["edges"]).read_bytes()
        assert {**row, "edges": 0, "shard": 0} == {**old, "edges": 0, "shard": 0}
        assert row["edges"] in members(out / row["shard"])
        assert Image.open(io.BytesIO(sample["png"])).mode == "L"
    assert key("deep/p.00%3.jpg") == "deep/p%2E00%253"


def test_shards_go_on_are_repaired_and_refuse_other_lists(tmp_path, capsys):
    images, labels = make(tmp_path, 9)
    words = [labels, "--batch", "2", *TAR, "--shard", "4"]
    out = tmp_path / "out"
    assert vcm(images, out, *words) == 0
    whole, times = files_of(out), {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    capsys.readouterr()
    assert vcm(images, out, *words) == 0
    assert "0 drawn, 9 already there" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.tar")} == times
    (out / "000001.tar").unlink()
    data = bytearray((out / "000000.tar").read_bytes())
    data[600] ^= 255  # in an edge map
    (out / "000000.tar").write_bytes(data)
    assert vcm(images, out, *words) == 0
    assert files_of(out) == whole
    picture = np.asarray(Image.open(images / "p002.jpg")) // 2
    Image.fromarray(picture).save(images / "p002.jpg")  # another picture of that name
    assert vcm(images, out, *words) == 0
    assert files_of(out) != whole
    assert vcm(images, tmp_path / "again", *words) == 0
    assert files_of(out) == files_of(tmp_path / "again")
    capsys.readouterr()
    (images / "p008.jpg").unlink()
    assert vcm(images, out, *words) == 2
    assert "pictures_sha256" in told(capsys)
    assert vcm(images, tmp_path / "none", labels, *TAR, "--shard", "0") == 2
    assert "at least 1 picture a shard" in told(capsys)


def test_several_alphas_and_workers_give_the_same_shards(tmp_path, sam):  # noqa: F811
    images, _ = make(tmp_path, 5)
    words = ["sam:vit_b", *sam, "--alpha", "0.5,0.55", *TAR, "--shard", "2"]
    assert vcm(images, tmp_path / "one", *words) == 0
    shards = [path.relative_to(tmp_path / "one").as_posix() for path in sorted((tmp_path / "one").rglob("*.tar"))]
    assert shards == [f"alpha-{alpha}/{i:06d}.tar" for alpha in ("0.5", "0.55") for i in range(3)]
    assert {row["shard"] for row in rows_of(tmp_path / "one")} == set(shards)
    labels = [tmp_path / "labels", "--batch", "1", *TAR, "--shard", "2"]
    assert vcm(images, tmp_path / "local", *labels) == 0
    assert vcm(images, tmp_path / "workers", *labels, "--workers", "2") == 0
    assert files_of(tmp_path / "workers") == files_of(tmp_path / "local")


def test_killed_anywhere_the_shards_are_those_of_a_whole_run(tmp_path):
    images, labels = make(tmp_path, 40)
    (images / "bad.jpg").write_bytes(b"<html>")
    words = ["--batch", "2", *TAR, "--shard", "6"]
    assert vcm(images, tmp_path / "whole", labels, *words) == 1
    out = tmp_path / "out"
    command = ["edges", str(images), "-o", str(out), "--segmenter", f"labels:{labels}", *words]
    for kill in range(3):
        run = subprocess.Popen([sys.executable, "-m", "pipelines", *command], cwd=ROOT, stderr=subprocess.DEVNULL)
        end, wanted = time.monotonic() + 60, 2 * (kill + 1)
        while len(list(out.glob("*.tar"))) < wanted and run.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
        run.kill()  # nothing where it has ended by itself
        run.wait()
    assert main(command) == 1
    assert files_of(out) == files_of(tmp_path / "whole")


def test_a_clip_has_no_shards(tmp_path, capsys):
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(b"clip")
    assert vcm(clip, tmp_path / "out", "felzenszwalb", *TAR) == 2
    assert "leave --output-format out" in told(capsys)


def test_the_list_of_pictures_is_part_of_the_settings(tmp_path):
    images, labels = make(tmp_path, 3)
    assert vcm(images, tmp_path / "out", labels, *TAR) == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["shard"] == 1000
    assert len(settings["pictures_sha256"]) == 64
