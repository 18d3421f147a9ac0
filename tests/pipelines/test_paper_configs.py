"""The configurations at the papers' sizes: each starts, with its own schedule, on a network shrunk for the test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipelines import cli
from pipelines.tasks.optimising import stepped
from pipelines.train import load_config
from tests.pipelines.test_small_configs import one_picture

FOLDER = Path(__file__).resolve().parents[2] / "pipelines" / "configs"
COCO_TRAIN = 118_287  # pictures of train2017
EPOCHS = {"sa-icm": (50, 1), "segpic": (400, 8)}  # of the papers, and the processes that the command starts
SMALL = {
    "sa-icm": yaml.safe_load((FOLDER / "tcm-small.yaml").read_text())["settings"]["model"],
    "sa-icm-s": {"latent": 16, "hyper": 8, "prior_width": 12, "widths": [8, 12, 16], "depths": [1, 1, 1]},
    "segpic": {"width": 16, "latent": 32, "slices": 4, "support": 2, "heads": 4},
    "groups": {"latent": 16, "hyper": 8, "prior_width": 12, "slices": 2, "widths": [8, 8, 8, 8], "depths": [1, 1, 1, 1],
               "heads": [2, 2, 2, 2], "expansion": 2},
}  # fmt: skip


def test_all_are_here() -> None:
    assert {path.stem for path in (FOLDER / "paper").glob("*.yaml")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_it_starts(name: str, tmp_path: Path) -> None:
    words = ["train", str(FOLDER / "paper" / f"{name}.yaml"), "-o", str(tmp_path / "run"), "--steps", "4",
             one_picture(tmp_path), f"settings.model={json.dumps(SMALL[name])}", "settings.batch=1",
             "settings.crop=128", "trainer.log_steps=1"]  # fmt: skip
    assert cli.main(words) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    assert all(np.isfinite(row["main"]) and not row["skipped"] for row in rows)
    assert rows[0]["learning_rate_factor"] == (1.0 if name != "sa-icm-s" else pytest.approx(1e-3))
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("name", EPOCHS)
def test_steps_are_the_papers_epochs(name: str) -> None:
    _, settings, trainer = load_config(FOLDER / "paper" / f"{name}.yaml", [])
    epochs, processes = EPOCHS[name]
    assert trainer.steps == pytest.approx(epochs * COCO_TRAIN / (settings.batch * processes), rel=1e-4)


def test_the_rate_falls_in_steps() -> None:
    """LIC-TCM's: a tenth after 45 and 48 of 50 epochs."""
    _, settings, _ = load_config(FOLDER / "paper" / "sa-icm.yaml", [])
    at = [stepped(epoch / 50, 0.0, settings.drops, settings.drop) for epoch in (0, 44.9, 45, 47.9, 48, 50)]
    assert at == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert [stepped(p, 0.1, (), 0.5) for p in (0, 0.05, 0.1, 1)] == pytest.approx([0.01, 0.5, 1, 1])
