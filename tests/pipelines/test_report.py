"""vcm report: one offline file that holds what the records hold, plots beside it, and looks right in a browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

import eval.models
from eval.records import read_jsonl, to_json
from tests.eval.tiny import tiny_files
from tests.pipelines.tiny_model import TinyModel


@pytest.fixture
def run(vcm, tmp_path, monkeypatch):
    """A finished run: two codecs at four rates, two tasks."""
    images, annotations = tiny_files(tmp_path / "data", (96, 128))
    monkeypatch.setitem(eval.models.MODELS, "tiny", TinyModel)
    codecs = ["jpeg:2,10,40,90", "x265:20,30,40,50"]
    done = vcm("evaluate", "--images", images, "--annotations", annotations, "--model", "tiny",
               "--task", "detection,instances", "--codec", *codecs, "-o", tmp_path / "run")  # fmt: skip
    assert done.code == 0, done.err
    return tmp_path / "run"


@pytest.fixture
def undrawn(monkeypatch):
    """Tests of words need no curves, which take most of the time."""
    monkeypatch.setattr("eval.report.page.svg", lambda panels, theme: "<svg/>")
    monkeypatch.setattr("eval.plots.save", lambda panels, path: path.write_bytes(b"plot"))


class Outline(HTMLParser):
    """Tags opened and closed, addresses asked for, text."""

    void = frozenset({"meta", "img", "source", "br"})

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "srcset", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_holds_the_run_and_asks_no_network(vcm, run, tmp_path):
    page = tmp_path / "out" / "report.html"
    done = vcm("report", run, "-o", page)
    assert (done.code, done.out.strip()) == (0, str(page))
    text = page.read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.open == []
    assert outline.addresses
    assert all(address.startswith("data:") for address in outline.addresses)
    assert not re.search(r"url\(|@import|<script|https?://", re.sub(r'"data:[^"]*"', "", text))
    words = " ".join(outline.words)
    for record in read_jsonl(run / "records.jsonl"):
        assert f"{record.rate_bpp:.4f}" in words
        assert f"{record.ap:.1f}" in words
    for needed in ("BD-rate against x265", "uncompressed", "2 pictures of instances", "torch ", "commit", "frozen"):
        assert needed in words, needed
    # two pictures: the original with labels, the ceiling, and eight points each
    assert outline.tags.count("img") == 3 + 2 * (1 + 1 + 8)
    names = {path.name for path in (page.parent / "plots").iterdir()}
    assert names == {f"{plot}.{kind}" for plot in ("detection", "instances", "fidelity") for kind in ("png", "svg")}


def test_the_same_run_gives_the_same_page(vcm, run, tmp_path):
    pages = []
    for name in ("a", "b"):
        assert vcm("report", run, "-o", tmp_path / name / "r.html").code == 0
        pages.append((tmp_path / name / "r.html").read_bytes())
    assert pages[0] == pages[1]


def test_bd_rates_say_why_not(vcm, run, tmp_path, undrawn):
    records = (run / "records.jsonl").read_text().splitlines()
    kept = [line for line in records if '"x265", "quality": 50' not in line]
    (run / "records.jsonl").write_text("\n".join(kept) + "\n")
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    assert "n/a: the anchor has 3 rates, 4 are needed" in (tmp_path / "r.html").read_text()


def test_a_reason_that_holds_for_all_is_said_once():
    from eval.metrics import BD
    from eval.report.page import Section, _bd_table

    flat, short = BD(None, "the anchor is not monotone"), BD(None, "the codec has 3 rates, 4 are needed")
    table = {"a": {"AP": flat, "PSNR": BD(-2.0)}, "b": {"AP": flat, "PSNR": short}, "c": {"AP": flat, "PSNR": short}}
    text = "".join(_bd_table(Section("t", "", (), {}, "x265", table)))
    assert text.count("the anchor is not monotone") == 1
    assert '<td>a</td><td class="why" rowspan="3">n/a: the anchor is not monotone</td><td class="saves">' in text
    assert text.count('<td class="why">n/a: the codec has 3 rates') == 2


def test_runs_are_joined(vcm, run, tmp_path, undrawn):
    data = tmp_path / "data"
    more = tmp_path / "more"
    done = vcm("evaluate", "--images", data / "images", "--annotations", data / "instances.json", "--model", "tiny",
               "--task", "detection", "--codec", "webp:5,50", "-o", more)  # fmt: skip
    assert done.code == 0
    assert vcm("report", run, more, "-o", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text()
    assert text.count("<h2>") == 2  # one data set and model, one of how it was made
    assert "webp:50" in text


def test_data_sets_of_one_name_stay_apart(vcm, tmp_path, undrawn):
    """Two folders called `images`, each of other pictures: two sections, and no curve through both."""
    words = []
    for name, size, codec in (("a", (48, 64), "jpeg:10,20"), ("b", (96, 128), "jpeg:40,60")):
        images, _ = tiny_files(tmp_path / name, size)
        assert vcm("evaluate", "--images", images, "--codec", codec, "-o", tmp_path / f"run-{name}").code == 0
        words.append(tmp_path / f"run-{name}")
    assert vcm("report", *words, "-o", tmp_path / "r.html").code == 0
    contents = [read_jsonl(folder / "records.jsonl")[0].content[:8] for folder in words]
    first, second = (tmp_path / "r.html").read_text().split("<h2>")[1:3]
    assert first.startswith(f"images, content {contents[0]}</h2>")
    assert second.startswith(f"images, content {contents[1]}</h2>")
    rows = [re.findall(r"<td>jpeg</td><td>(\d+)</td>", section) for section in (first, second)]
    assert rows == [["10", "20"], ["40", "60"]]
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {f"images-content-{c}-fidelity.{kind}" for c in contents for kind in ("png", "svg")}


def change(run, **values):
    """Write the records of a run with other values, each a function of the record."""
    records = [dataclasses.replace(r, **{k: of(r) for k, of in values.items()})
               for r in read_jsonl(run / "records.jsonl")]  # fmt: skip
    (run / "records.jsonl").write_text("".join(to_json(r) + "\n" for r in records))


def test_every_set_of_weights_has_its_curve(vcm, run, tmp_path, undrawn, monkeypatch):
    drawn = {}
    monkeypatch.setattr("eval.plots.save", lambda panels, path: drawn.setdefault(path.name, panels) and path.touch())
    hashes = {20: "a" * 64, 30: "a" * 64, 40: "b" * 64, 50: "b" * 64}
    change(run, weights=lambda r: hashes[r.quality] if r.codec == "x265" else "")
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    curves = {curve.name: len(curve.points) for curve in next(iter(drawn.values()))[0].curves}
    assert curves == {"jpeg": 4, "x265 (aaaaaaaa)": 2, "x265 (bbbbbbbb)": 2}
    text = (tmp_path / "r.html").read_text()
    assert "BD-rate against jpeg" in text  # x265 as such is no curve any more
    assert "Digits after a codec’s name" in text
    assert text.count("<img loading") == 2 * (1 + 1 + 8)  # samples and detections are found under the codec's own name
    change(run, model_weights=lambda r: "c" * 64 if r.quality > 35 else "d" * 64)
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    assert "<h2>instances, tiny, weights cccccccc</h2>" in (tmp_path / "r.html").read_text()


def test_no_objects_no_ap(vcm, tmp_path, undrawn, monkeypatch):
    images, annotations = tiny_files(tmp_path / "data")
    monkeypatch.setitem(eval.models.MODELS, "tiny", TinyModel)
    annotations.write_text(json.dumps({**json.loads(annotations.read_text()), "annotations": []}))
    assert vcm("evaluate", "--images", images, "--annotations", annotations, "--model", "tiny", "--task", "detection",
               "--codec", "jpeg:5", "-o", tmp_path / "run").code == 0  # fmt: skip
    assert vcm("report", tmp_path / "run", "-o", tmp_path / "r.html").code == 0
    assert (tmp_path / "r.html").read_text().count("<td>n/a</td><td>n/a</td>") == 2
    assert {path.stem for path in (tmp_path / "plots").iterdir()} == {"fidelity"}


def test_times_name_their_threads(vcm, run, tmp_path, undrawn):
    change(run, encode_threads=lambda r: 6 if r.codec == "x265" else 1, decode_threads=lambda r: 1)
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text()
    assert "<th>threads<br>(of both)</th>" in text
    assert text.count("<td>6, 1</td></tr>") == 4
    assert text.count("<td>1</td></tr>") == 5


def test_the_example_is_what_the_demo_does():
    from pathlib import Path

    from pipelines.demo import commands
    from pipelines.report import EPILOG

    assert f"vcm report {commands(Path('runs/demo'), 1, 0)[-1][1]} " in EPILOG


def test_bad_requests(vcm, run, tmp_path):
    for words, says in [
        ([tmp_path / "none"], "holds no records.jsonl"),
        ([run, "--anchor", "vvenc"], "not among the codecs measured: jpeg, x265"),
    ]:
        done = vcm("report", *words, "-o", tmp_path / "r.html")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert says in done.err
    (run / "records.jsonl").write_text('{"codec": "x", "bpp": 3}\n')
    done = vcm("report", run, "-o", tmp_path / "r.html")
    assert "line 1: unknown field 'bpp'" in done.err
    assert not (tmp_path / "r.html").exists()


def test_a_moved_data_set_costs_only_the_labels(vcm, run, tmp_path, undrawn):
    shutil.rmtree(tmp_path / "data")
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    assert "with its labels" not in (tmp_path / "r.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(vcm, run, tmp_path, scheme):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium to look at the page: apt-get install chromium")
    import numpy as np
    from PIL import Image

    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    # 1: light, 0: dark
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
         f"--blink-settings=preferredColorScheme={int(scheme == 'light')}", f"--user-data-dir={tmp_path / 'profile'}",
         "--window-size=1300,1600", f"--screenshot={tmp_path / 'shot.png'}", f"file://{tmp_path / 'r.html'}"],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    shot = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)
    paper = {"light": (255, 255, 255), "dark": (0x15, 0x19, 0x1E)}[scheme]
    assert (np.abs(shot - paper).max(axis=-1) <= 2).mean() > 0.6  # the page, and the plots' own ground
    blue = np.abs(shot - (0x2A, 0x7F, 0xC1)).max(axis=-1) <= 6
    assert blue.sum() > 200  # x265's curve is drawn
