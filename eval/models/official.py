"""torchvision's own detectors, trained on COCO: `torchvision:NAME`.

Weights come from a file (`--model-weights PATH`, .pth, .safetensors) or torchvision's download into its cache; both
are BSD-3-Clause, the pictures they were trained on COCO's. Labels are COCO's category ids, as in `eval.scenes`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eval.models.scene_model import THRESHOLD, check
from eval.models.weights import fit, read

OFFICIAL = {
    "fasterrcnn_resnet50_fpn": ("detection",),
    "fasterrcnn_resnet50_fpn_v2": ("detection",),
    "fasterrcnn_mobilenet_v3_large_fpn": ("detection",),
    "fasterrcnn_mobilenet_v3_large_320_fpn": ("detection",),
    "retinanet_resnet50_fpn": ("detection",),
    "retinanet_resnet50_fpn_v2": ("detection",),
    "fcos_resnet50_fpn": ("detection",),
    "maskrcnn_resnet50_fpn": ("detection", "instances"),
    "maskrcnn_resnet50_fpn_v2": ("detection", "instances"),
}
"""torchvision's builder -> tasks"""


class OfficialModel:
    """`TaskModel` around a torchvision detector."""

    def __init__(self, builder: str, weights: str | os.PathLike | None = None) -> None:
        self.builder, self.name, self.tasks = builder, f"torchvision:{builder}", OFFICIAL[builder]
        self._weights, self._model = weights, None

    def _network(self) -> Any:
        if self._model is None:
            from torchvision.models import get_model, get_model_weights

            model = get_model(self.builder, weights=None, weights_backbone=None, num_classes=91)
            if self._weights is not None:
                fit(model, _state(self._weights), self._weights)
            else:
                entry = get_model_weights(self.builder).DEFAULT  # type: ignore[attr-defined]
                try:
                    model.load_state_dict(entry.get_state_dict(progress=False, check_hash=True))
                except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash a RuntimeError
                    raise OSError(f"{self.name}: weights not fetched from {entry.url} ({error}); fetch that file "
                                  "elsewhere and name it with --model-weights PATH") from None
            self._model = model.eval()
        return self._model

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """See `eval.models`. One picture at a time."""
        import torch

        network, results = self._network(), []
        for picture in pictures:
            x = torch.from_numpy(check(picture).transpose(2, 0, 1).copy()).float() / 255
            with torch.inference_mode():
                found = network([x])[0]
            result = {key: found[key].cpu().numpy() for key in ("boxes", "scores", "labels")}
            if "instances" in self.tasks:
                result["masks"] = (found["masks"][:, 0] >= THRESHOLD).cpu().numpy()
            results.append(result)
        return results


def _state(path: str | os.PathLike) -> dict[str, Any]:
    """Tensors of a .safetensors file or of a .pth one, which is read without running what is in it."""
    if str(path).endswith(".safetensors"):
        return read(path)
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
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
