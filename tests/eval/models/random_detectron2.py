"""Random weights that make Detectron2's networks find many things, and a comparison with its DefaultPredictor.

The zoo's weights cannot be fetched in a test. Random ones have no normalisation statistics, so signals die or explode;
here they are estimated from pictures, and the last layers are shifted and scaled so that the classes compete.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SPREAD = {"cls_score": 5.0, "bbox_pred": 0.5, "objectness_logits": 2.0, "anchor_deltas": 0.3,
          "mask_head.predictor": 3.0, "sem_seg_head.predictor": 3.0, "score_lowres": 2.0}  # fmt: skip
"""last layers -> standard deviation of what they give"""


def random_weights(model: Any, pictures: Sequence[np.ndarray], path: Path, seed: int = 0) -> None:
    """Writes a .pkl as the zoo's for the network of a Detectron2Model. pictures: for the statistics, made 320 high."""
    import cv2
    import torch
    from detectron2.layers import FrozenBatchNorm2d

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = model.recipe.network("cpu")

    def normalise(module, inputs):
        module.running_mean.copy_(inputs[0].mean((0, 2, 3)))
        module.running_var.copy_(inputs[0].var((0, 2, 3)))

    def spread(module, inputs, output):
        if getattr(module, "seen", False):
            return None
        module.seen = True
        rows = [i for i in range(output.ndim) if i != 1]
        mean, scale = output.mean(rows), SPREAD[next(end for end in SPREAD if module.called.endswith(end))]
        factor = scale / output.std(rows).clamp_min(1e-9)
        wide = [1] * (module.weight.ndim - 1)
        transposed = isinstance(module, torch.nn.ConvTranspose2d)
        module.weight.mul_(factor.view(1, -1, *wide[1:]) if transposed else factor.view(-1, *wide))
        module.bias.copy_((module.bias - mean) * factor)
        shape = [1, -1] + [1] * (output.ndim - 2)
        return (output - mean.view(shape)) * factor.view(shape)

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, FrozenBatchNorm2d):
            hooks.append(module.register_forward_pre_hook(normalise))
        elif name.endswith(tuple(SPREAD)) and isinstance(module, torch.nn.Linear | torch.nn.Conv2d
                                                         | torch.nn.ConvTranspose2d):  # fmt: skip
            module.called = name
            hooks.append(module.register_forward_hook(spread))
    small = [cv2.resize(p, (round(p.shape[1] * 320 / p.shape[0]), 320), interpolation=cv2.INTER_AREA) for p in pictures]
    with torch.no_grad():
        network([{"image": torch.as_tensor(np.ascontiguousarray(p[:, :, ::-1].transpose(2, 0, 1)))} for p in small])
    for hook in hooks:
        hook.remove()
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    path.write_bytes(pickle.dumps({"model": state, "__author__": "random"}, protocol=4))


def predictor(model: Any, weights: Path) -> Any:
    """Detectron2's own DefaultPredictor of the same configuration; it reads the weights by itself."""
    from detectron2.engine import DefaultPredictor

    config = model.recipe.config.clone()
    config.MODEL.DEVICE, config.MODEL.WEIGHTS = "cpu", str(weights)
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = config.MODEL.RETINANET.SCORE_THRESH_TEST = 0.0
    return DefaultPredictor(config)


def compare(model: Any, reference: Any, picture: np.ndarray) -> dict[str, float]:
    """How far the adapter is from the predictor on one picture: numbers of things compared, largest differences.

    COCO's ids are taken from Detectron2's tables here, not from the adapter's.
    """
    from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

    things = [row["id"] for row in COCO_CATEGORIES if row["isthing"]]
    stuff = [0] + [row["id"] for row in COCO_CATEGORIES if not row["isthing"]]
    ours, theirs = model.predict([picture])[0], reference(picture[:, :, ::-1])
    found = theirs["instances"]
    boxes = found.pred_boxes.tensor.numpy()
    if boxes.shape != ours["boxes"].shape:
        raise AssertionError(f"{len(ours['boxes'])} boxes, Detectron2 {len(boxes)}")
    figures = {"boxes": float(len(boxes)), "box_px": float(np.abs(boxes - ours["boxes"]).max(initial=0)),
               "score": float(np.abs(found.scores.numpy() - ours["scores"]).max(initial=0)),
               "labels_wrong": float(sum(things[c] != label for c, label in
                                         zip(found.pred_classes.tolist(), ours["labels"].tolist(), strict=True))),
               "classes": float(len(set(ours["labels"].tolist())))}  # fmt: skip
    if "masks" in ours:
        figures["mask_pixels_wrong"] = float((found.pred_masks.numpy() != ours["masks"]).sum())
        figures["mask_pixels"] = float(ours["masks"].sum())
    if "panoptic" in ours:
        panoptic, segments = theirs["panoptic_seg"]
        expected = [{"id": s["id"], "isthing": s["isthing"],
                     "category_id": (things if s["isthing"] else stuff)[s["category_id"]]}
                    for s in segments]  # fmt: skip
        figures |= {"panoptic_pixels_wrong": float((panoptic.numpy() != ours["panoptic"]).sum()),
                    "segments": float(len(segments)), "segments_wrong": float(expected != ours["segments"]),
                    "things": float(sum(s["isthing"] for s in expected))}  # fmt: skip
    return figures
