"""torchvision's own models, trained on COCO: `torchvision:NAME`.

Detectors and Keypoint R-CNN give COCO's category ids; the semantic ones know Pascal VOC's 20 classes, given under
COCO's ids, and their background is void (-1). Weights come from a file (`--model-weights PATH`, .pth or .safetensors)
or torchvision's download into torch's cache, whose name carries the start of its SHA-256, checked at every load; both
are BSD-3-Clause, the pictures they were trained on COCO's.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.models.labels import COCO_THINGS, ON_COCO, PERSON, VOC_CATEGORIES, VOC_TO_COCO
from eval.models.scene_model import THRESHOLD, check
from eval.models.weights import fit, read

OFFICIAL: dict[str, tuple[str, ...]] = {
    "fasterrcnn_resnet50_fpn": ("detection",),
    "fasterrcnn_resnet50_fpn_v2": ("detection",),
    "fasterrcnn_mobilenet_v3_large_fpn": ("detection",),
    "fasterrcnn_mobilenet_v3_large_320_fpn": ("detection",),
    "retinanet_resnet50_fpn": ("detection",),
    "retinanet_resnet50_fpn_v2": ("detection",),
    "fcos_resnet50_fpn": ("detection",),
    "ssd300_vgg16": ("detection",),
    "ssdlite320_mobilenet_v3_large": ("detection",),
    "maskrcnn_resnet50_fpn": ("detection", "instances"),
    "maskrcnn_resnet50_fpn_v2": ("detection", "instances"),
    "keypointrcnn_resnet50_fpn": ("detection", "keypoints"),
    "fcn_resnet50": ("semantic",),
    "fcn_resnet101": ("semantic",),
    "deeplabv3_resnet50": ("semantic",),
    "deeplabv3_resnet101": ("semantic",),
    "deeplabv3_mobilenet_v3_large": ("semantic",),
    "lraspp_mobilenet_v3_large": ("semantic",),
}
"""torchvision's builder -> tasks"""

# torchvision freezes the normalisation of these backbones when it loads its weights, and not when they come from
# elsewhere; four of them then get another epsilon. Anything else would be a slightly different model.
FROZEN = {
    "fasterrcnn_resnet50_fpn": 0.0, "maskrcnn_resnet50_fpn": 0.0, "keypointrcnn_resnet50_fpn": 0.0,
    "retinanet_resnet50_fpn": 0.0, "fcos_resnet50_fpn": 1e-5, "fasterrcnn_mobilenet_v3_large_fpn": 1e-5,
    "fasterrcnn_mobilenet_v3_large_320_fpn": 1e-5,
}  # fmt: skip
SHORT_SIDE, LONGEST_SIDE = 520, 4 * 520  # what a semantic model sees: its training's short side; the rest is a guard


class OfficialModel:
    """`TaskModel` around a torchvision model, on the GPU where there is one.

    There, pictures of equal size go through together; on a CPU, where that gains nothing, each goes alone, so that its
    neighbours cannot change a result in the last digits either.
    """

    def __init__(self, builder: str, weights: str | os.PathLike | None = None) -> None:
        self.builder, self.name, self.tasks = builder, f"torchvision:{builder}", OFFICIAL[builder]
        known = {"semantic": VOC_CATEGORIES, "keypoints": PERSON}
        self.categories: dict[int, str] = next((known[task] for task in self.tasks if task in known), COCO_THINGS)
        self.note = ON_COCO if self.categories is COCO_THINGS else (
            "trained on COCO train2017, persons only" if "keypoints" in self.tasks else
            "trained on COCO train2017 with Pascal VOC's 20 classes; everything else is background, given as void"
        )  # fmt: skip
        self.files: tuple[Path, ...] = ()  # what identifies the weights; known after the first predict
        self._weights, self._model = weights, None

    def _network(self) -> Any:
        if self._model is None:
            import torch

            model = network(self.builder)
            path = Path(self._weights) if self._weights is not None else fetch(self.builder)
            fit(model, _state(path), path)
            self.files = (path,)
            self._model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        return self._model

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """See `eval.models`."""
        import torch

        model, results = self._network(), []
        device = next(model.parameters()).device
        read_out = _semantic if "semantic" in self.tasks else _objects
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            for batch in _batches(pictures, together=device.type == "cuda"):
                x = torch.from_numpy(np.stack(batch)).to(device).permute(0, 3, 1, 2).contiguous()
                results += read_out(model, x)
        return results


def network(builder: str) -> Any:
    """The module as torchvision builds it for its own weights, without any; ready for `load_state_dict`."""
    from torchvision.models import get_model

    if "semantic" in OFFICIAL[builder]:
        # its published weights hold the auxiliary head, which prediction does not use
        auxiliary = {} if builder.startswith("lraspp") else {"aux_loss": True}
        return get_model(builder, weights=None, weights_backbone=None, num_classes=21, **auxiliary)
    classes = 2 if "keypoints" in OFFICIAL[builder] else 91
    model = get_model(builder, weights=None, weights_backbone=None, num_classes=classes)
    if builder in FROZEN:
        _freeze(model.backbone, FROZEN[builder])
    return model


def fetch(builder: str) -> Path:
    """torchvision's file in torch's cache, downloaded if it is not there, its hash checked; OSError in one line."""
    import torch
    from torchvision.models import get_model_weights

    from eval.privacy.files import sha256

    url = get_model_weights(builder).DEFAULT.url  # type: ignore[attr-defined]
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    match = re.search(r"-([0-9a-f]{8,})\.", path.name)
    assert match is not None, url  # torchvision's names carry it
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), match[1], progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
            reason = " ".join(str(error).split())
            raise OSError(f"torchvision:{builder}: weights not fetched from {url} ({reason}); fetch that file "
                          "elsewhere and name it with --model-weights PATH") from None  # fmt: skip
    elif not sha256(path).startswith(match[1]):
        raise ValueError(f"{path}: is damaged (its SHA-256 does not start with {match[1]}); remove it, and it is "
                         f"fetched again from {url}")  # fmt: skip
    return path


def _batches(pictures: Sequence[np.ndarray], together: bool) -> Iterator[list[np.ndarray]]:
    """Neighbours of one size, or each picture alone."""
    for _, run in itertools.groupby(pictures, lambda picture: check(picture).shape):
        neighbours = list(run)
        yield from [neighbours] if together else [[picture] for picture in neighbours]


def _objects(model: Any, x: Any) -> list[dict[str, Any]]:
    """x (B, 3, H, W) uint8 -> what a detector finds in each."""
    import torch

    results = []
    for found in model(list(x.float() / 255)):
        result = {key: found[key].cpu().numpy() for key in ("boxes", "scores", "labels")}
        if "masks" in found:
            result["masks"] = (found["masks"][:, 0] >= THRESHOLD).cpu().numpy()
        if "keypoints" in found:
            # (N, K, 3) with visibility 1, and the heat map's peak (a logit): given here as a score in 0 … 1
            peaks = torch.sigmoid(found["keypoints_scores"])
            result["keypoints"] = torch.cat([found["keypoints"][..., :2], peaks[..., None]], -1).float().cpu().numpy()
        results.append(result)
    return results


def _semantic(model: Any, x: Any) -> list[dict[str, Any]]:
    """x (B, 3, H, W) uint8 -> COCO's ids of VOC's classes, -1 for background. Resized as in its training, as uint8."""
    import torch
    from torchvision.transforms import functional as F

    scaled = F.resize(x, [SHORT_SIDE], antialias=True, max_size=LONGEST_SIDE).float() / 255
    scaled = F.normalize(scaled, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    logits = torch.nn.functional.interpolate(model(scaled)["out"], x.shape[2:], mode="bilinear", align_corners=False)
    ids = np.array(VOC_TO_COCO, np.int32)[logits.argmax(1).cpu().numpy()]
    return [{"semantic": one} for one in ids]


def _freeze(module: Any, eps: float) -> None:
    """Every BatchNorm2d below becomes torchvision's FrozenBatchNorm2d: statistics that no training changes."""
    from torch import nn
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=eps))
        else:
            _freeze(child, eps)


def restricted(path: str | os.PathLike[str]) -> Any:
    """torch's restricted loader, without its advice (of protocols, of unsafe loading), which is not for our users."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _state(path: str | os.PathLike) -> dict[str, Any]:
    """Tensors of a .safetensors file or of a .pth one, which is read without running what is in it."""
    if str(path).endswith(".safetensors"):
        return read(path)
    try:
        state = restricted(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such weights; name a .pth or .safetensors file") from None
    except Exception as error:  # pickle and zip raise whatever they meet
        raise ValueError(f"{path}: not readable as weights ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(state, dict):
        raise ValueError(f"{path}: holds no state dict")
    return state


def official(builder: str) -> Callable[..., OfficialModel]:
    """A builder for MODELS."""
    return lambda weights=None: OfficialModel(builder, weights)
