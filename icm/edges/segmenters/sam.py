"""Segment Anything (Kirillov et al., ICCV 2023) through the segment-anything package: `sam:vit_h|vit_l|vit_b`.

alpha is the generator's `pred_iou_thresh`: masks whose predicted IoU is above it are kept (at 0, all of
them, as upstream has it); a lower alpha keeps more masks and so draws more edges.

Shapes: picture (H, W, 3) uint8 RGB, masks (N, H, W) bool, label map (H, W) int32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icm.edges.labels import label_map
from icm.edges.segmenters.base import Segmenter, read_options
from icm.edges.segmenters.checkpoints import OFFICIAL, obtain, sha256_of


@dataclasses.dataclass(frozen=True)
class Options:
    """Those of SamAutomaticMaskGenerator, its names and defaults; pred_iou_thresh is alpha."""

    points_per_side: int = 32
    points_per_batch: int = 64
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0


class Sam(Segmenter):
    """A model of `arch` with the weights at `checkpoint`, or the official ones; loaded by `prepare`.

    model: a ready segment_anything Sam to use instead. Raises ValueError for an unknown arch or weights that do not
    fit it, OSError for missing weights, ImportError without the package.
    """

    scored = True

    def __init__(
        self,
        arch: str,
        checkpoint: Path | None = None,
        device: str = "auto",
        options: Options | None = None,
        model: Any = None,
    ) -> None:
        if arch not in OFFICIAL:
            raise ValueError(f"unknown Segment Anything model {arch!r}: choose sam:{', sam:'.join(OFFICIAL)}")
        if checkpoint is not None and not checkpoint.is_file():
            raise FileNotFoundError(f"{checkpoint}: no such file; name the weights of {arch} with --sam-checkpoint")
        self.name = f"sam:{arch}"
        self.arch, self.checkpoint, self.device, self.model = arch, checkpoint, device, model
        self.options = options or Options()
        self._sha256 = sha256_of(checkpoint) if checkpoint else OFFICIAL[arch].sha256

    def settings(self) -> dict[str, Any]:
        return {"segmenter": self.name, "checkpoint_sha256": self._sha256, **dataclasses.asdict(self.options)}

    def prepare(self) -> None:
        try:
            import segment_anything  # noqa: F401
        except ImportError:
            raise ImportError("sam needs the segment-anything package: pip install segment-anything") from None
        if self.model is None:
            self.model = self._load(self.checkpoint or obtain(OFFICIAL[self.arch]))

    def masks(self, picture: np.ndarray, alpha: float) -> list[dict[str, Any]]:
        """The generator's records (`segmentation`, `predicted_iou`, …), those with predicted IoU above alpha."""
        from segment_anything import SamAutomaticMaskGenerator

        self.prepare()
        generator = SamAutomaticMaskGenerator(self.model, pred_iou_thresh=alpha, **dataclasses.asdict(self.options))
        try:
            return generator.generate(picture)
        except RuntimeError as error:  # torch's own class for want of memory, on CPU a plain RuntimeError
            if "memory" in str(error):
                raise MemoryError("Segment Anything; try --option points_per_batch=16 or a smaller picture") from None
            raise

    def label_maps(self, picture: np.ndarray, name: str, alphas: Sequence[float | None]) -> list[np.ndarray]:
        wanted = [0.0 if alpha is None else alpha for alpha in alphas]
        # Non-maximum suppression goes by predicted IoU, so a higher alpha is a filter of a lower one: one pass serves
        # all. Not so across crops, where it goes by the crop's size, nor after small regions are mended.
        if self.options.crop_n_layers == 0 and self.options.min_mask_region_area == 0:
            lowest = self.masks(picture, min(wanted))
            found = [[mask for mask in lowest if alpha <= 0 or mask["predicted_iou"] > alpha] for alpha in wanted]
        else:
            found = [self.masks(picture, alpha) for alpha in wanted]
        shape = (picture.shape[0], picture.shape[1])
        return [
            label_map([mask["segmentation"] for mask in masks], [mask["predicted_iou"] for mask in masks], shape)
            for masks in found
        ]

    def _load(self, checkpoint: Path) -> Any:
        import torch
        from segment_anything import sam_model_registry

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            if checkpoint.suffix == ".safetensors":
                from safetensors.torch import load_file

                state = load_file(checkpoint)
            else:
                state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            model = sam_model_registry[self.arch](checkpoint=None)
            model.load_state_dict(state)
        except OSError:
            raise
        except Exception as error:  # pickle, zip, safetensors and torch each have their own; the file is at fault
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise ValueError(
                f"{checkpoint}: not weights of Segment Anything {self.arch} ({reason}); official ones "
                f"are at {OFFICIAL[self.arch].url}"
            ) from None
        try:
            return model.to(device).eval()
        except (RuntimeError, AssertionError) as error:  # no such device, built without it, or full
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"--device {device}: cannot be used ({reason}); try --device cpu") from None


def build(
    target: str, checkpoint: str | None = None, device: str = "auto", options: dict[str, str] | None = None
) -> Sam:
    """`sam:ARCH`, weights from `checkpoint` or the cache."""
    settings = read_options(Options, options or {}, "sam")
    return Sam(target or "vit_h", Path(checkpoint) if checkpoint else None, device, settings)
