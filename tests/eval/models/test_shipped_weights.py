"""The shipped Mask R-CNN: what its card says, and that it finds what is in held-out scenes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from eval import models, scenes
from eval.models.weights import SHIPPED, card
from eval.scenes.coco import rle

NAME = "mask-rcnn-scenes"
COUNT = 16


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """AP50 of boxes and masks on pictures that neither training nor its choices saw."""
    folder = tmp_path_factory.mktemp("test")
    paths = scenes.write(folder, count=COUNT, split="test")
    model, rows = models.build(NAME), []
    for picture in scenes.pictures(COUNT, split="test"):
        found = model.predict([picture.image])[0]
        for (x0, y0, x1, y1), score, label, mask in zip(*(found[k] for k in ("boxes", "scores", "labels", "masks")),
                                                        strict=True):
            rows.append({"image_id": picture.index + 1, "category_id": int(label), "score": float(score),
                         "bbox": [float(v) for v in (x0, y0, x1 - x0, y1 - y0)], "segmentation": rle(mask)})
    truth = COCO(paths["instances"])
    scores = {}
    for task in ("bbox", "segm"):
        run = COCOeval(truth, truth.loadRes(rows), task)
        run.evaluate()
        run.accumulate()
        run.summarize()
        scores[task] = 100 * float(run.stats[1])
    return scores


def test_it_is_a_working_detector(scored: dict[str, float]) -> None:
    assert scored["bbox"] >= 70
    assert scored["segm"] >= 60


def test_the_card_describes_the_file() -> None:
    described = card(NAME)
    data = (SHIPPED / described["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == described["sha256"]
    assert len(data) == described["bytes"] < 8e6
    assert {"command", "data", "steps", "scores", "licence"} <= set(described)
    assert {c["id"]: c["name"] for c in scenes.CATEGORIES if c["isthing"]} == {
        int(k): v for k, v in described["categories"].items()}  # fmt: skip
    assert json.dumps(described)  # plain values only


def test_the_command_on_the_card_names_a_configuration_that_ships() -> None:
    import shlex

    words = shlex.split(card(NAME)["command"])
    assert words[:2] == ["vcm", "train"]
    assert Path(words[2]).is_file()


def test_the_same_picture_gives_the_same_numbers() -> None:
    image = scenes.picture(0, split="test").image
    first, second = (models.build(NAME).predict([image])[0] for _ in range(2))
    for key, value in first.items():
        assert np.array_equal(value, second[key])
    assert len(first["scores"]) > 0
