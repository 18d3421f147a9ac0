"""The small configurations: each trains a few steps on tiny pictures and leaves weights that code a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

import icm
from pipelines import cli
from pipelines.media import write_picture
from tests.icm.conftest import picture

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "pipelines" / "configs").glob("*-small.yaml"))
CODECS = {"tcm": "sa-icm"}  # those that are not called as their architecture


def one_picture(tmp_path: Path) -> str:
    """The word that names one picture as data, with a mask and labels."""
    write_picture(tmp_path / "pictures" / "a.png", picture(140, 150))
    labels = np.zeros((140, 150, 3), np.uint8)
    labels[30:90, 40:100, 0] = 255
    write_picture(tmp_path / "masks" / "a.png", labels)
    source = {"pictures": f"{tmp_path}/pictures", "masks": f"{tmp_path}/masks", "labels": f"{tmp_path}/masks"}
    return f"settings.data={json.dumps([source])}"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_it_trains_and_codes(config: Path, tmp_path: Path) -> None:
    words = ["train", str(config), "-o", str(tmp_path / "run"), "--steps", "2", one_picture(tmp_path),
             "settings.batch=2", "trainer.log_steps=1"]  # fmt: skip
    assert cli.main(words) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(np.isfinite(row["main"]) and not row["skipped"] for row in rows)
    arch = yaml.safe_load(config.read_text())["settings"].get("arch", "sa-icm-s")
    weights = tmp_path / "run" / "model.safetensors"
    original = picture(70, 90)
    coded = icm.encode(original, codec=CODECS.get(arch, arch), weights=weights)
    assert icm.decode(coded, weights=weights).shape == original.shape


def test_there_are_small_ones() -> None:
    assert {"sa-icm-s-small", "tcm-small", "segpic-small"} <= {path.stem for path in CONFIGS}
