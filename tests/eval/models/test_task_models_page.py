"""docs/task-models.md: its model of one's own is run as it stands there; its tables say what the code says."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from eval import models
from eval.models.labels import VOC_CATEGORIES
from eval.models.layouts import LAYOUTS
from eval.models.official import OFFICIAL
from eval.models.onnx_description import Description, read_description
from tests.eval.models.tiny_onnx import write
from tests.eval.tiny import tiny_files

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "task-models.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    (text,) = re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.DOTALL)
    return text


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of the page, as `pip install` would leave it: a module, and its entry points."""
    (tmp_path / "my_models.py").write_text(block("python"))
    (group,) = tomllib.loads(block("toml"))["project"]["entry-points"].items()
    about = tmp_path / "mine-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        f"[{group[0]}]\n" + "".join(f"{name} = {value}\n" for name, value in group[1].items()))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield write(tmp_path / "camera.onnx", "rows6")
    sys.modules.pop("my_models", None)


def test_a_model_of_ones_own_in_30_lines(installed: Path) -> None:
    code = [line for line in block("python").splitlines() if line.strip()]
    assert len(code) <= 30
    model = models.build(f"mine:{installed}")
    picture = np.zeros((30, 50, 3), np.uint8)
    picture[:, 25:, 0] = 200
    (found,) = model.predict([picture])
    assert found["boxes"][0] == pytest.approx([25, 0, 50, 15])
    assert found["scores"] == pytest.approx([200 / 255, 200 / 255, 0, 0], abs=0.01)
    assert found["labels"].tolist() == [1] * 4
    assert models.build("mine:other", weights=str(installed)).name == f"mine:{installed}"
    assert "mine" in models.names()


def test_it_is_evaluated_like_any_other(installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines.cli import main

    images, annotations = tiny_files(tmp_path / "set")
    assert main(["evaluate", "--images", str(images), "--annotations", str(annotations), "--task", "detection",
                 "--model", f"mine:{installed}", "--codec", "jpeg:50", "-o", str(tmp_path / "run")]) == 0  # fmt: skip
    said = capsys.readouterr()
    assert "detection AP" in said.out
    assert "mean something else" in said.err  # the labels' 1 is a square, and the model's a person
    assert "trained on the cameras of our car park" in said.err


def test_the_page_names_every_model_and_layout() -> None:
    families = re.findall(r"^\| `(\w[\w-]*)[:`]", PAGE.split("## Your own")[0], flags=re.MULTILINE)
    assert set(models.FAMILIES) | {"mask-rcnn-scenes", "torchvision"} == set(families)
    part = PAGE.split("## torchvision")[1].split("\n## ")[0]
    named, last = set(), ""
    for name in re.findall(r"`([\w…]+)`", part.split("Networks are")[0] + part.split("Semantic:")[1].split("They")[0]):
        last = name if "…" not in name else next(
            full for full in OFFICIAL if full.endswith(name[1:]) and full.startswith(last[:20]))
        named.add(last)
    assert named == set(OFFICIAL)
    ids = {int(number): name for name, number in re.findall(r"([a-z ]+?) (\d+)[,.]", part.split("COCO's ids:")[1])}
    assert {i: name.strip() for i, name in ids.items()} == VOC_CATEGORIES
    rows = re.findall(r"^\| `(\w+)` \| \(.*\| (\.\d+), (\.\d+|none) \|$", PAGE, flags=re.MULTILINE)
    assert {name: (float(score), None if iou == "none" else float(iou)) for name, score, iou in rows} == {
        name: (layout.score, layout.iou) for name, layout in LAYOUTS.items()}


def test_the_description_on_the_page_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.onnx.yaml").write_text(block("yaml"))
    read = read_description(tmp_path / "a.onnx.yaml")
    assert read.categories == {1: "pedestrian", 4: "car"}
    assert set(yaml.safe_load(block("yaml"))) == set(Description.__dataclass_fields__)
