"""The Detectron2 adapter with Detectron2: the same numbers as DefaultPredictor, COCO's ids, weights, losses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from eval.models import build, detectron2_zoo
from tests.eval.models.random_detectron2 import compare, predictor, random_weights

if importlib.util.find_spec("detectron2") is None:
    pytest.skip("Detectron2 is not installed", allow_module_level=True)

# Detectron2 and its packages warn about themselves.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

FASTER = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
MASK = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
PANOPTIC = "COCO-PanopticSegmentation/panoptic_fpn_R_50_3x"
KEYPOINTS = "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x"
STATISTICS, COMPARED = 8, 2  # pictures


def photographs(shared: Path, number: int) -> list[np.ndarray]:
    paths = sorted((shared / "data" / "coco128" / "images" / "val").glob("*.jpg"))[:number]
    return [cv2.imread(str(path))[:, :, ::-1] for path in paths]


@pytest.fixture(scope="module")
def weights(tmp_path_factory, request):
    """config -> the adapter with random weights, and their file; each made once."""
    made: dict[str, Path] = {}

    def of(config: str, shared: Path, end: str = "@0"):
        if config not in made:
            made[config] = tmp_path_factory.mktemp("d2") / "random.pkl"
            model = build(f"detectron2:{config}")
            if config == KEYPOINTS:
                small(model)
            random_weights(model, photographs(shared, STATISTICS), made[config])
        return build(f"detectron2:{config}{end}", made[config]), made[config]

    return of


def small(model):
    """The model with pictures made 200 high and few samples, for what does not depend on them."""
    config = model.recipe.config
    config.INPUT.MIN_SIZE_TEST, config.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE = 200, 64
    if "keypoints" in model.tasks:  # its head costs a GFLOP an object
        config.TEST.DETECTIONS_PER_IMAGE = 10
    return model


@pytest.mark.parametrize("config", [FASTER, MASK, PANOPTIC])
def test_the_numbers_are_those_of_detectron2s_own_predictor(config: str, shared: Path, weights) -> None:
    model, path = weights(config, shared)
    reference = predictor(model, path)
    for picture in photographs(shared, COMPARED):
        figures = compare(model, reference, picture)
        print(config, picture.shape, figures)
        assert figures["boxes"] >= 50
        assert figures["box_px"] <= 1e-3
        assert figures["score"] <= 1e-3
        assert figures["labels_wrong"] == 0
        assert figures["classes"] >= 3
        if config != FASTER:
            assert figures["mask_pixels_wrong"] == 0
            assert figures["mask_pixels"] > 1000
        if config == PANOPTIC:
            assert figures["panoptic_pixels_wrong"] == figures["segments_wrong"] == 0
            assert 0 < figures["things"] < figures["segments"]


def test_what_the_names_say_is_what_the_configurations_say() -> None:
    root = Path(importlib.util.find_spec("detectron2").submodule_search_locations[0]) / "model_zoo" / "configs"  # type: ignore
    seen = 0
    for folder in ("COCO-*", "LVIS*", "Cityscapes", "PascalVOC-Detection", "Misc", "Detectron1-Comparisons"):
        for path in sorted(root.glob(f"{folder}/*.yaml")):
            if path.name.startswith(("Base-", "rpn_", "fast_rcnn_")):
                continue
            model = build(f"detectron2:{path.relative_to(root).with_suffix('')}")
            assert model.tasks == model.recipe.tasks, path  # type: ignore[attr-defined]
            seen += 1
    assert seen >= 50
    for name in detectron2_zoo.NAMES:
        from detectron2.model_zoo import get_checkpoint_url

        assert build(f"detectron2:{name}")._url() == get_checkpoint_url(f"{name}.yaml")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("config", "number", "some"), [
    (FASTER, 80, {1: "person", 90: "toothbrush"}), (PANOPTIC, 133, {1: "person", 199: "wall-other-merged"}),
    (KEYPOINTS, 1, {1: "person"}), ("Cityscapes/mask_rcnn_R_50_FPN", 8, {24: "person", 33: "bicycle"}),
    ("PascalVOC-Detection/faster_rcnn_R_50_C4", 20, {1: "aeroplane", 20: "tvmonitor"}),
    ("Misc/semantic_R_50_FPN_1x", 53, {92: "banner"}), ("new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ", 80, {3: "car"}),
])  # fmt: skip
def test_categories_are_those_of_the_data_set(config: str, number: int, some: dict[int, str]) -> None:
    categories = build(f"detectron2:{config}").categories  # type: ignore[attr-defined]
    assert len(categories) == number
    assert some.items() <= categories.items()


def test_neither_the_threshold_nor_random_numbers_of_others_are_touched(shared: Path, weights) -> None:
    model, path = weights(FASTER, shared)
    small(model)
    picture = photographs(shared, 1)[0]
    before = np.random.get_state()[1:3]  # noqa: NPY002
    model.network().train()
    everything = model.predict([picture])[0]
    np.testing.assert_equal(np.random.get_state()[1:3], before)  # noqa: NPY002
    assert model.network().training
    middle = round(float(np.median(everything["scores"])), 4)
    high = small(build(f"detectron2:{FASTER}@{middle}", path)).predict([picture])[0]
    kept = everything["scores"] > middle
    assert 20 < kept.sum() < len(kept) - 20
    np.testing.assert_allclose(high["boxes"], everything["boxes"][kept], atol=1e-3)
    assert (np.diff(everything["scores"]) <= 0).all()


def test_pictures_of_one_size_go_through_together_unchanged_and_others_too(shared: Path, weights) -> None:
    model = small(weights(FASTER, shared)[0])
    pictures = [p[:400, :360] for p in photographs(shared, 2)]
    single = model.predict(pictures)
    model.batch = 2
    for one, two in zip(single, model.predict(pictures), strict=True):
        near = np.abs(one["boxes"][:, None] - two["boxes"][None]).max(2).min(1)
        assert (near < 0.1).mean() > 0.95  # equal but for the last digits, which may decide between two boxes
    wide, high = pictures[0][:200], pictures[1][:, :200]
    for picture, found in zip((wide, high), model.predict([wide, high]), strict=True):
        assert len(found["boxes"]) > 20
        assert (found["boxes"] <= np.tile(picture.shape[1::-1], 2) + 1e-3).all()
        assert found["boxes"].max(0)[2:] == pytest.approx(picture.shape[1::-1], rel=0.2)


def test_where_nothing_is_found_the_shapes_stay(shared: Path, weights) -> None:
    _, path = weights(PANOPTIC, shared)
    model = small(build(f"detectron2:{PANOPTIC}@1", path))
    found = model.predict([np.full((64, 80, 3), 128, np.uint8)])[0]
    shapes = {key: found[key].shape for key in ("boxes", "scores", "labels", "masks", "panoptic", "semantic")}
    assert shapes == {"boxes": (0, 4), "scores": (0,), "labels": (0,), "masks": (0, 64, 80), "panoptic": (64, 80),
                      "semantic": (64, 80)}  # fmt: skip
    assert not any(segment["isthing"] for segment in found["segments"])


def test_keypoints_lie_in_the_picture(shared: Path, weights) -> None:
    picture = photographs(shared, 1)[0]
    model = small(weights(KEYPOINTS, shared)[0])
    found = model.predict([picture])[0]
    assert found["keypoints"].shape == (len(found["boxes"]), 17, 3)
    assert set(found["labels"]) == {1}
    inside = found["keypoints"][..., :2]
    assert (inside > -1).all()
    assert (inside <= np.array(picture.shape[1::-1])).all()


def test_a_configuration_of_ones_own(tmp_path: Path, shared: Path, weights) -> None:
    _, path = weights(FASTER, shared)
    root = Path(importlib.util.find_spec("detectron2").submodule_search_locations[0]) / "model_zoo" / "configs"  # type: ignore
    mine = tmp_path / "mine.yaml"
    mine.write_text(f'_BASE_: "{root / FASTER}.yaml"\nINPUT:\n  MIN_SIZE_TEST: 200\n')
    model = build(f"detectron2:{mine}@0", path)
    assert (model.tasks, model.name) == (("detection",), f"detectron2:{mine}@0")
    assert len(model.predict(photographs(shared, 1))[0]["boxes"]) > 50
    assert model.files == (path, mine)  # type: ignore[attr-defined]
    mine.write_text(f'_BASE_: "{root / FASTER}.yaml"\nMODEL:\n  ROI_HEADS:\n    NUM_CLASSES: 3\n')
    model = build(f"detectron2:{mine}", path)
    assert model.categories is None  # type: ignore[attr-defined]
    assert model.recipe.ids.things == (1, 2, 3)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="these weights are not this model's") as told:
        model.predict(photographs(shared, 1))
    assert "\n" not in str(told.value)
    mine.write_text("MODEL:\n  NOTHING_SUCH: 1\n")
    with pytest.raises(ValueError, match="no configuration of Detectron2"):
        build(f"detectron2:{mine}", path)
    mine.write_text('MODEL: !!python/object/apply:os.system ["false"]\n')
    with pytest.raises(ValueError, match="holds Python to be run"):
        build(f"detectron2:{mine}", path)


def test_weights_of_another_network_are_refused(shared: Path, weights) -> None:
    _, path = weights(FASTER, shared)
    with pytest.raises(ValueError, match=r"tensors missing, roi_heads\.mask_head"):
        build(f"detectron2:{MASK}", path).network()  # type: ignore[attr-defined]


@pytest.mark.parametrize("config", [FASTER, PANOPTIC, KEYPOINTS])
def test_losses_fall_where_the_network_is_trained_on_a_picture(config: str, shared: Path, weights) -> None:
    model = small(weights(config, shared, "")[0])
    truth = json.loads((shared / "data" / "coco128" / "annotations" / "instances_val.json").read_text())
    path = sorted((shared / "data" / "coco128" / "images" / "val").glob("*.jpg"))
    rows = {row["file_name"]: row["id"] for row in truth["images"]}
    pick = next(p for p in path if any(a["image_id"] == rows[p.name] and a["category_id"] == 1 and not a["iscrowd"]
                                       for a in truth["annotations"]))  # fmt: skip
    annotations = [a for a in truth["annotations"] if a["image_id"] == rows[pick.name]]
    for a in annotations:  # coco128 has none: the corners of the box
        x, y, w, h = a["bbox"]
        a["keypoints"] = [x + 1, y + 1, 2, x + w - 1, y + h - 1, 2] + [0] * 45
    picture = cv2.imread(str(pick))[:, :, ::-1]
    semantic = np.full((2, *picture.shape[:2]), -1, np.int32)
    semantic[:, :100], semantic[:, 100:200] = 1, 187  # a thing, the sky
    head = model.network().roi_heads.box_predictor
    torch.manual_seed(0)
    optimizer = torch.optim.SGD([p for p in model.network().parameters() if p.requires_grad], 1e-4)
    sums = []
    for _ in range(3):
        terms = model.losses([picture, picture], [annotations, []], semantic if config == PANOPTIC else None)
        expected = {FASTER: set(), PANOPTIC: {"loss_mask", "loss_sem_seg"}, KEYPOINTS: {"loss_keypoint"}}[config]
        assert set(terms) == {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"} | expected
        total = sum(terms.values())
        assert torch.isfinite(total)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        sums.append(float(total))
    assert head.cls_score.weight.grad.abs().max() > 0
    assert sums[-1] < sums[0]
    if config == PANOPTIC:
        assert "loss_sem_seg" not in model.losses([picture], [annotations])
    assert model.predict([picture])[0]["boxes"].shape[1] == 4
