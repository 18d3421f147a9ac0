"""Detectron2's training losses for pictures and COCO annotations, to fine-tune a model on what a codec leaves.

    model.network().train();  sum(model.losses(pictures, annotations).values()).backward()

Pictures go through the same resize as in evaluation, without augmentation: whoever trains flips and crops before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from eval.models.detectron2_zoo import Detectron2Model

IGNORED = 255  # Detectron2's class of pixels that count for nothing


def losses(model: Detectron2Model, pictures: Sequence[np.ndarray], annotations: Sequence[Sequence[dict[str, Any]]],
           semantic: Sequence[np.ndarray] | None = None) -> dict[str, Any]:  # fmt: skip
    """name -> scalar tensor.

    annotations: a picture's annotations as in COCO's JSON: bbox xywh, category_id, and where the network wants them
    segmentation (polygons or RLE) and keypoints; crowds and categories that the model does not know are left out.
    semantic: (H, W) category ids, -1 void; without it a panoptic model's semantic head learns nothing.
    """
    from detectron2.utils.events import EventStorage

    network = model.network().train()
    inputs = []
    for i, (picture, found) in enumerate(zip(pictures, annotations, strict=True)):
        item, transform = model.input(picture)
        item["instances"] = _instances(model, picture, found, transform)
        if "semantic" in model.tasks:
            item["sem_seg"] = _semantic(model, picture, None if semantic is None else semantic[i], transform)
        inputs.append(item)
    with EventStorage():  # the heads count their samples into it
        terms = network(inputs)
    if semantic is None:
        terms.pop("loss_sem_seg", None)  # the mean over no pixel
    return terms


def _instances(model: Detectron2Model, picture: np.ndarray, annotations: Sequence[dict[str, Any]],
               transform: Any) -> Any:  # fmt: skip
    import torch
    from detectron2.structures import BitMasks, Boxes, Instances, Keypoints

    height, width = picture.shape[:2]
    size = transform.new_h, transform.new_w
    classes = {identity: i for i, identity in enumerate(model.recipe.ids.things)}
    kept = [a for a in annotations
            if not a.get("iscrowd") and a["category_id"] in classes and min(a["bbox"][2:]) > 0
            and ("instances" not in model.tasks or a.get("segmentation"))]  # fmt: skip
    xywh = np.array([a["bbox"] for a in kept], np.float64).reshape(-1, 4)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
    boxes = transform.apply_box(boxes).reshape(-1, 4).clip(0, [size[1], size[0]] * 2)
    labels = [classes[a["category_id"]] for a in kept]
    target = Instances(size, gt_boxes=Boxes(torch.as_tensor(boxes, dtype=torch.float32)),
                       gt_classes=torch.tensor(labels, dtype=torch.int64))  # fmt: skip
    if "instances" in model.tasks:
        masks = [transform.apply_segmentation(mask_of(a["segmentation"], height, width)) for a in kept]
        target.gt_masks = BitMasks(torch.from_numpy(np.array(masks, bool).reshape(-1, *size)))
    if "keypoints" in model.tasks:
        number = int(model.recipe.config.MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS)
        rows = [a.get("keypoints") or [0] * 3 * number for a in kept]
        points = np.array(rows, np.float64).reshape(len(kept), number, 3)
        seen = points[..., 2:] > 0
        moved = transform.apply_coords((points[..., :2] + 0.5).reshape(-1, 2)).reshape(*points.shape[:2], 2)
        points = np.concatenate([moved * seen, points[..., 2:]], 2)
        target.gt_keypoints = Keypoints(torch.as_tensor(points, dtype=torch.float32))
    return target[target.gt_boxes.nonempty()]


def mask_of(segmentation: Any, height: int, width: int) -> np.ndarray:
    """COCO's polygons, RLE of counts or of a text -> (H, W) uint8."""
    from pycocotools import mask

    if isinstance(segmentation, list):
        segmentation = mask.merge(mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = mask.frPyObjects(segmentation, height, width)
    return mask.decode(segmentation)


def _semantic(model: Detectron2Model, picture: np.ndarray, categories: np.ndarray | None, transform: Any) -> Any:
    import torch

    ids = model.recipe.ids
    if categories is None:
        categories = np.full(picture.shape[:2], -1, np.int32)
    classes = np.full(max(0, int(categories.max()), *ids.stuff.values(), *ids.things) + 2, IGNORED, np.uint8)
    classes[list(ids.things)] = 0
    for i, identity in ids.stuff.items():
        classes[identity] = i
    classes[-1] = IGNORED  # void, which indexes from behind
    return torch.as_tensor(transform.apply_segmentation(classes[categories]).astype(np.int64))
