"""vcm report: one offline file that holds what the records hold, plots beside it, and looks right in a browser."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import eval.models
from eval.metrics import bootstrap
from eval.metrics.scores import load
from eval.records import read_jsonl, to_json
from pipelines.cli import main
from tests.eval.tiny import tiny_files
from tests.pipelines.chromium import WIDE, ask, shot
from tests.pipelines.html import Outline
from tests.pipelines.tiny_model import TinyModel

CODECS = ("jpeg:2,5,10,20,40,90", "x265:20,26,32,38,44,50")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with data/ and a finished run/: two codecs at six rates, two tasks."""
    folder = tmp_path_factory.mktemp("made")
    images, annotations = tiny_files(folder / "data", (96, 128))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(eval.models.MODELS, "tiny", TinyModel)
        words = ["evaluate", "--images", images, "--annotations", annotations, "--model", "tiny",
                 "--task", "detection,instances", "--codec", *CODECS, "-o", folder / "run"]  # fmt: skip
        assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run to change."""
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    """The run's page as a browser gets it, with its plots."""
    path = tmp_path_factory.mktemp("page") / "out" / "report.html"
    assert main(["report", str(made / "run"), "-o", str(path)]) == 0
    return path


@pytest.fixture
def undrawn(monkeypatch):
    """Tests of words need no curves, which take most of the time."""
    monkeypatch.setattr("eval.report.page.svg", lambda panels, **more: "<svg/>")
    monkeypatch.setattr("eval.plots.save", lambda panels, path, names: path.write_bytes(b"plot"))


def test_the_page_holds_the_run_and_asks_no_network(made, page):
    text = page.read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.open == []
    assert outline.addresses
    assert all(address.startswith("data:") for address in outline.addresses)
    script = text[text.index("<script>") :]
    assert text.count("<script") == 1
    assert not re.search(r"fetch|import\b|XMLHttp|https?://|\.src\b", re.sub("//.*", "", script))
    assert not re.search(r"url\(|@import|https?://", re.sub(r'"data:[^"]*"', "", text[: text.index("<script>")]))
    words = " ".join(outline.words)
    for record in read_jsonl(made / "run" / "records.jsonl"):
        assert f"{record.rate_bpp:.4f}" in words
        assert f"{record.ap:.1f}" in words
    said = ("Against x265", "uncompressed", "2 pictures of instances", "torch ", "commit", "frozen", "Pareto fronts")
    assert [one for one in said if one not in words] == []
    # two pictures: the original and twelve points each; two panels a plot
    assert outline.tags.count("img") == 3 * 2 + 2 * (1 + 12)
    assert text.count('data-layer="labels"') == 2
    assert text.count('class="layer" data-layer="objects"') == 2 * (1 + 12)
    names = {path.name for path in (page.parent / "report-plots").iterdir()}
    assert names == {f"{plot}.{kind}" for plot in ("detection", "instances", "fidelity") for kind in ("png", "svg")}


def test_the_same_run_gives_the_same_page(vcm, made, page, tmp_path):
    assert vcm("report", made / "run", "-o", tmp_path / "r.html").code == 0
    assert (tmp_path / "r.html").read_bytes() == page.read_bytes()


def test_pages_of_one_folder_keep_their_plots_apart(vcm, run, tmp_path, undrawn):
    for name in ("a", "b"):
        assert vcm("report", run, "-o", tmp_path / "out" / f"{name}.html").code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.html", "b.html", "a-plots", "b-plots"}


def test_bd_rates_say_why_not(vcm, run, tmp_path, undrawn):
    records = (run / "records.jsonl").read_text().splitlines()
    kept = [line for line in records if not re.search(r'"x265", "quality": (26|38|50)', line)]
    (run / "records.jsonl").write_text("\n".join(kept) + "\n")
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text()
    assert "n/a: the anchor has 3 rates, 6 are needed" in text  # of isotonic figures
    assert "n/a: the anchor has 3 rates, 4 are needed" in text  # of raw ones


def panels_of(monkeypatch):
    """Where the plots of the next report will be: name -> panels."""
    drawn = {}
    monkeypatch.setattr("pipelines.report_plots.save_plots", lambda plots, *_: drawn.update(plots))
    return drawn


def test_bands_and_lines_are_those_of_the_metrics(vcm, made, tmp_path, undrawn, monkeypatch):
    drawn = panels_of(monkeypatch)
    assert vcm("report", made / "run", "-o", tmp_path / "r.html", "--resamples", 50).code == 0
    text = (tmp_path / "r.html").read_text()
    assert "50 bootstrap resamples of the 2 pictures" in text
    assert "Bold: saves rate" in text
    folder = made / "run" / "predictions" / "jpeg"
    points = {quality: load(folder / str(quality) / "tiny.detection.npz") for quality in (2, 5, 10, 20, 40, 90)}
    curve = next(curve for curve in drawn["detection"][0].curves if curve.name == "jpeg")
    counts = bootstrap.draw(2, 50, 0)
    for (_, ap), (_, low, high), scores in zip(sorted(curve.points), sorted(curve.band), points.values(), strict=True):
        assert ap == pytest.approx(scores.figures()["ap"])
        assert (low, high) == pytest.approx(np.percentile(scores.resample(counts, ["ap"])["ap"], (2.5, 97.5)))
    heights = [height for _, height in curve.line]
    assert np.all(np.diff(heights) >= -1e-9)
    assert min(heights) >= min(ap for _, ap in curve.points) - 1e-9
    ms_ssim = next(curve for curve in drawn["fidelity"][1].curves if curve.name == "x265")
    assert all(low <= value <= high for (_, value), (_, low, high) in
               zip(sorted(ms_ssim.points), sorted(ms_ssim.band), strict=True))  # fmt: skip


def test_an_older_run_is_drawn_without_bands(vcm, run, tmp_path, undrawn, monkeypatch):
    drawn = panels_of(monkeypatch)
    for path in (run / "predictions").rglob("*.npz"):
        path.unlink()
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text()
    assert "resamples" not in text
    assert all(not curve.band and curve.line for panel in drawn["detection"] for curve in panel.curves)
    assert "BD-accuracy" in text


def test_a_curve_that_lacks_a_file_has_no_band(vcm, run, tmp_path, undrawn, monkeypatch):
    drawn = panels_of(monkeypatch)
    (run / "predictions" / "x265" / "26" / "tiny.detection.npz").write_bytes(b"damaged")
    assert vcm("report", run, "-o", tmp_path / "r.html", "--resamples", 20).code == 0
    bands = {curve.name: len(curve.band) for curve in drawn["detection"][0].curves}
    assert bands == {"jpeg": 6, "x265": 0}
    assert len(drawn["instances"][0].curves[1].band) == 6


def test_of_clips_sequences_are_resampled(tmp_path):
    """Two codecs, one with a stream a sequence, one with a stream a picture: the same units, the same rates."""
    from eval.metrics.fidelity import FidelityScores
    from eval.records import Record
    from eval.report.terms import FIDELITY
    from pipelines.report_bands import Resampler
    from pipelines.report_points import Point

    sequences = {"a": [1, 2], "b": [3, 4, 5], "c": [6]}
    notes = {"clip": {"bytes": {"a": 20, "b": 33, "c": 5}, "pixels": {"a": 200, "b": 300, "c": 100},
                      "sequences": sequences},
             "still": {"bytes": dict(zip("123456", (10, 10, 11, 11, 11, 5), strict=True)),
                       "pixels": dict.fromkeys("123456", 100)}}  # fmt: skip
    points = []
    for codec, note in notes.items():
        record = Record(codec, 1.0, "d", "fidelity", "", 6, 600, 58, 8 * 58 / 600)
        points.append(Point(record, tmp_path, {}, codec))
        for kind in ("streams", "predictions"):
            (tmp_path / kind / codec / "1").mkdir(parents=True)
        (tmp_path / "streams" / codec / "1" / "point.json").write_text(json.dumps(note))
        scores = FidelityScores([1, 2, 3, 4, 5, 6], [30, 31, 20, 21, 22, 40], [0.9] * 6)
        scores.save(tmp_path / "predictions" / codec / "1" / "none.fidelity.npz")
    resampler = Resampler(points, FIDELITY, None, 200, 0)
    assert resampler.units == 3
    clip, still = resampler.curves["clip"][0], resampler.curves["still"][0]
    assert np.array_equal(clip.bytes, still.bytes)
    assert clip.units.tolist() == [0, 0, 1, 1, 1, 2]
    spread = resampler.bootstrap("psnr_db", "").bands["clip"][0].spread
    counts = bootstrap.draw(3, 200, 0)
    means = counts @ (61, 63, 40) / (counts @ (2, 3, 1))  # every frame of a sequence as often as the sequence
    assert (spread.low, spread.high) == pytest.approx(np.percentile(means, (2.5, 97.5)))


def test_sequences_are_compared_one_by_one(vcm, run, tmp_path, undrawn):
    def halves(r):
        return {"a": {"ap": r.ap, "rate_bpp": r.rate_bpp}, "b": {"ap": r.ap, "rate_bpp": 2 * r.rate_bpp}}

    change(run, per_sequence=halves)
    assert vcm("report", run, "-o", tmp_path / "r.html", "--resamples", 0).code == 0
    text = (tmp_path / "r.html").read_text()
    assert "detection AP: 2 sequences" in text
    assert "resamples of the" not in text
    change(run, per_sequence=lambda r: {"a": halves(r)["a"]})
    assert vcm("report", run, "-o", tmp_path / "r.html", "--resamples", 0).code == 0
    assert "Sequence by sequence" not in (tmp_path / "r.html").read_text()  # one is the whole


def test_panoptic_and_semantic_maps_are_layers(vcm, run, tmp_path, undrawn):
    """As a run keeps them: ids as COCO's colours with a JSON beside, and 16-bit category ids, 65535 being void."""
    folder = run / "predictions" / "jpeg" / "40"
    ids = np.zeros((96, 128), int)
    ids[:, :60], ids[:40, 60:] = 300, 7
    (folder / "tiny.panoptic").mkdir()
    (folder / "tiny.semantic").mkdir()
    rgb = np.stack([ids % 256, ids // 256, 0 * ids], -1).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "tiny.panoptic" / "11.png")
    segments = [{"id": 300, "category_id": 1}, {"id": 7, "category_id": 2}]
    results = {"annotations": [{"image_id": 11, "file_name": "11.png", "segments_info": segments}]}
    (folder / "tiny.panoptic.json").write_text(json.dumps(results))
    kinds = np.where(ids == 300, 3, 65535).astype(np.uint16)
    Image.fromarray(kinds).save(folder / "tiny.semantic" / "10.png")
    assert vcm("report", run, "-o", tmp_path / "r.html", "--resamples", 0).code == 0
    text = (tmp_path / "r.html").read_text()
    figures = {title: text.split(f'data-title="{title}"') for title in ("jpeg:40", "jpeg:90")}
    first, second = (part.partition("</figure>")[0] for part in figures["jpeg:40"][1:])
    named = [re.findall(r'data-layer="(\w+)"', part) for part in (first, second)]
    assert named == [["objects", "semantic"], ["objects", "panoptic"]]
    assert first.count(">never</text>") == 1
    assert re.findall(r">(\w+)</text>", second) == ["square", "disc"]  # the larger first; objects have scores
    assert "panoptic" not in "".join(part.partition("</figure>")[0] for part in figures["jpeg:90"][1:])


def test_runs_are_joined(vcm, made, run, tmp_path, undrawn, monkeypatch):
    data = made / "data"
    more = tmp_path / "more"
    monkeypatch.setitem(eval.models.MODELS, "tiny", TinyModel)
    done = vcm("evaluate", "--images", data / "images", "--annotations", data / "instances.json", "--model", "tiny",
               "--task", "detection", "--codec", "webp:5,50", "-o", more)  # fmt: skip
    assert done.code == 0
    assert vcm("report", run, more, "-o", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text()
    assert text.count("<h2>") == 2  # one data set and model, one of how it was made
    assert text.count('data-title="webp:50"') == 2


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
    rows = [re.findall(r"</svg> jpeg</td><td>(\d+)</td>", section) for section in (first, second)]
    assert rows == [["10", "20"], ["40", "60"]]
    names = {path.name for path in (tmp_path / "r-plots").iterdir()}
    assert names == {f"images-content-{c}-fidelity.{kind}" for c in contents for kind in ("png", "svg")}


def change(run, **values):
    """Write the records of a run with other values, each a function of the record."""
    records = [dataclasses.replace(r, **{k: of(r) for k, of in values.items()})
               for r in read_jsonl(run / "records.jsonl")]  # fmt: skip
    (run / "records.jsonl").write_text("".join(to_json(r) + "\n" for r in records))


def test_every_set_of_weights_has_its_curve(vcm, run, tmp_path, undrawn, monkeypatch):
    drawn = panels_of(monkeypatch)
    hashes = {quality: ("a" if quality < 30 else "b") * 64 for quality in (20, 26, 32, 38, 44, 50)}
    change(run, weights=lambda r: hashes[r.quality] if r.codec == "x265" else "")
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    curves = {curve.name: len(curve.points) for curve in next(iter(drawn.values()))[0].curves}
    assert curves == {"jpeg": 6, "x265 (aaaaaaaa)": 2, "x265 (bbbbbbbb)": 4}
    text = (tmp_path / "r.html").read_text()
    assert "Against jpeg" in text  # x265 as such is no curve any more
    assert "Digits after a codec’s name" in text
    # samples and detections are found under the codec's own name
    assert text.count('class="layer" data-layer="objects"') == 2 * (1 + 12)
    change(run, model_weights=lambda r: "c" * 64 if r.quality > 35 else "d" * 64)
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    assert "<h2>instances, tiny, weights cccccccc</h2>" in (tmp_path / "r.html").read_text()


def test_protocols_never_share_axes(vcm, run, tmp_path, undrawn, monkeypatch):
    """Frozen, fine-tuned, pseudo-labels: a section each, named; a tuned model's weights differ from codec to codec."""
    drawn = panels_of(monkeypatch)
    tuned = tmp_path / "tuned"
    shutil.copytree(run, tuned)
    change(tuned, protocol=lambda r: "fine-tuned", model_weights=lambda r: ("c" if r.quality < 35 else "d") * 64)
    origin = json.loads((tuned / "run.json").read_bytes())
    origin["models"][0]["fine_tuned_on"] = {"codecs": ["x265:26,38"]}
    (tuned / "run.json").write_text(json.dumps(origin))
    pseudo = tmp_path / "pseudo"
    shutil.copytree(run, pseudo)
    change(pseudo, protocol=lambda r: "pseudo-labels")
    assert vcm("report", run, tuned, pseudo, "-o", tmp_path / "r.html").code == 0
    sections = (tmp_path / "r.html").read_text().split("<h2>")[1:]
    assert [section.partition("</h2>")[0] for section in sections[:3]] == [
        f"instances, tiny, {protocol}" for protocol in ("frozen", "fine-tuned", "pseudo-labels")]  # fmt: skip
    assert "It learned from pictures of x265:26,38." in sections[1]
    assert "It learned" not in sections[0] + sections[2]
    curves = {name: [curve.name for curve in panels[0].curves] for name, panels in drawn.items()}
    assert curves["instances-tiny-fine-tuned-detection"] == ["jpeg (model of x265)", "x265"]
    assert curves["instances-tiny-frozen-detection"] == ["jpeg", "x265"]
    assert sum("fidelity" in name for name in curves) == 1  # which does not depend on models
    assert "".join(sections).count('class="viewer"') == 1


def test_models_of_files_go_by_their_names():
    from pipelines.report_points import called

    one, other = "onnx:/a/b/yolo.onnx", "onnx:/c/yolo.onnx"
    zoo = "detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x"
    assert called(one, [one, zoo, one]) == "onnx:yolo.onnx"
    assert called(one, [one, other]) == one
    assert called(zoo, [zoo]) == zoo
    assert called("", [""]) == ""


def test_no_objects_no_ap(vcm, tmp_path, undrawn, monkeypatch):
    images, annotations = tiny_files(tmp_path / "data")
    monkeypatch.setitem(eval.models.MODELS, "tiny", TinyModel)
    annotations.write_text(json.dumps({**json.loads(annotations.read_text()), "annotations": []}))
    assert vcm("evaluate", "--images", images, "--annotations", annotations, "--model", "tiny", "--task", "detection",
               "--codec", "jpeg:5", "-o", tmp_path / "run").code == 0  # fmt: skip
    assert vcm("report", tmp_path / "run", "-o", tmp_path / "r.html").code == 0
    assert (tmp_path / "r.html").read_text().count("<td>n/a</td><td>n/a</td>") == 2
    assert {path.stem for path in (tmp_path / "r-plots").iterdir()} == {"fidelity"}


def test_times_name_their_threads(vcm, run, tmp_path, undrawn):
    change(run, encode_threads=lambda r: 6 if r.codec == "x265" else 1, decode_threads=lambda r: 1)
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text()
    assert "<th>threads<br>(of both)</th>" in text
    assert text.count("<td>6, 1</td></tr>") == 6
    assert text.count("<td>1</td></tr>") == 7


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
    origin = json.loads((run / "run.json").read_bytes())
    origin["settings"]["images"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(origin))
    assert vcm("report", run, "-o", tmp_path / "r.html").code == 0
    text = (tmp_path / "r.html").read_text()
    assert 'data-layer="labels"' not in text
    assert re.search(r">square 0\.\d\d</text>", text)  # what was found keeps its names


DRIVE = """
  const viewer = document.querySelector('.viewer'), rate = viewer.querySelector('.pick-rate'), out = {};
  const tags = () => ['left', 'right'].map((side) => viewer.querySelector(`.tag-${side}`).textContent);
  const shown = () => [...viewer.querySelectorAll('.side.right .layer')].filter((one) => one.getClientRects().length)
    .map((one) => one.dataset.layer);
  const set = (control, value, event) => { control.value = value; control.dispatchEvent(new Event(event)); };
  out.opened = [viewer.querySelector('.controls').hidden, viewer.querySelector('.gallery').open];
  out.rates = [Number(rate.min), Number(rate.max)];
  out.titles = [];
  for (let i = 0; i <= rate.max; i++) { set(rate, i, 'input'); out.titles.push(tags()[1]); }
  out.said = viewer.querySelector('.said').textContent;
  out.objects = shown();
  set(viewer.querySelector('.pick-layer'), '', 'change');
  out.nothing = shown();
  set(viewer.querySelector('.pick-layer'), 'labels', 'change');
  out.labels = shown();
  set(rate, 0, 'input');
  const other = viewer.querySelectorAll('.controls input[type=radio]')[1];
  other.click();
  out.other = tags();
  set(viewer.querySelector('.pick-left'), 'jpeg', 'change');
  out.both = tags();
  set(viewer.querySelector('.pick-scene'), 1, 'change');
  out.picture = viewer.querySelector('.side.left img').alt;
  set(viewer.querySelector('.pick-wipe'), 20, 'input');
  const box = viewer.querySelector('.stage').getBoundingClientRect();
  out.divider = (viewer.querySelector('.split').getBoundingClientRect().x + 1 - box.x) / box.width;
  const images = [...document.images].filter((one) => one.getClientRects().length);
  await Promise.all(images.map((one) => one.decode()));
  out.sizes = [...viewer.querySelectorAll('.stage img')].map((one) => one.naturalWidth);
  viewer.querySelector('.gallery').open = true;
  return out;
"""


def test_without_labels_classes_are_called_as_the_model_calls_them(vcm, run, tmp_path, undrawn, monkeypatch):
    class Named(TinyModel):
        categories = {1: "quadrangle", 2: "circle"}  # noqa: RUF012

    origin = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**origin, "categories": {}, "settings": {}}))
    for model, says in ((Named, r">quadrangle 0\.\d\d<"), (TinyModel, r">1 0\.\d\d<")):
        monkeypatch.setitem(eval.models.MODELS, "tiny", model)
        assert vcm("report", run, "-o", tmp_path / "r.html", "--resamples", 0).code == 0
        assert re.search(says, (tmp_path / "r.html").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 420])
def test_the_viewer_works_and_nothing_is_wider_than_the_window(page, tmp_path, width):
    measured = f"{{...driven, wide: {WIDE}, scroll: document.documentElement.scrollWidth}}"
    script = f"const driven = await (async () => {{ {DRIVE} }})(); return {measured};"
    out, console = ask(page, tmp_path, width, script)
    assert console == []
    assert "error" not in out, out
    assert (out["wide"], out["scroll"]) == ([], width)
    assert out["opened"] == [False, False]
    assert out["rates"] == [0, 5]
    assert out["titles"] == [f"jpeg:{quality}" for quality in (2, 5, 10, 20, 40, 90)]
    assert re.fullmatch(r"jpeg:90 [\d.]+ bpp, [\d,]+ bytes, PSNR [\d.]+ dB", out["said"])
    assert (out["objects"], out["nothing"], out["labels"]) == (["objects"], [], ["labels"])
    assert out["other"][0] == "original"
    assert out["other"][1].startswith("x265:")
    assert [title.partition(":")[0] for title in out["both"]] == ["jpeg", "x265"]
    assert out["picture"].startswith("Picture 11, jpeg:")
    assert out["divider"] == pytest.approx(0.2, abs=0.01)
    assert out["sizes"] == [128, 128]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(page, tmp_path, scheme):
    seen = shot(page, tmp_path, scheme)
    paper = {"light": (255, 255, 255), "dark": (0x15, 0x19, 0x1E)}[scheme]
    assert (np.abs(seen - paper).max(axis=-1) <= 2).mean() > 0.6  # the page, and the plots' own ground
    blue = np.abs(seen - (0x2A, 0x7F, 0xC1)).max(axis=-1) <= 6
    assert blue.sum() > 200  # x265's curve is drawn
