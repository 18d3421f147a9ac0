"""Settings of "segment everything": those of SamAutomaticMaskGenerator, and shortcuts that change masks a little."""

from __future__ import annotations

import dataclasses

PRECISIONS = ("float32", "bfloat16", "float16")
PARTS = ("encoder", "transformer", "upscaling")


@dataclasses.dataclass(frozen=True)
class Options:
    """Those of SamAutomaticMaskGenerator, its names and defaults (pred_iou_thresh is alpha), then our own.

    points_per_batch: 0 lets the device decide. encoder_batch: pictures, or crops, that pass the encoder together; 0 as
    well. The shortcuts are off by default, when masks are upstream's but for the last bit of a float:
    precision: float32, bfloat16 or float16, for the parts in precision_parts (encoder+transformer+upscaling).
    low_res_margin: drop a mask before it is upsampled to the picture when its stability at low resolution is this much
    below the threshold, 0.02 say; negative is off.
    refine: look for masks in a cheaper way first, and make in float32 only what may survive where the rough predicted
    IoU is wrong by no more than this, 0.01 say (`refine.py`); negative is off. refine_masks: the same for stability and
    for the overlap of boxes. The cheaper way: `precision` (precision_parts=transformer+upscaling leaves the encoder, on
    which all depends, in float32), or search_pool: image tokens averaged in squares of this side, 2 or 4.
    """

    points_per_side: int = 32
    points_per_batch: int = 0
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0
    encoder_batch: int = 0
    precision: str = "float32"
    precision_parts: str = "encoder+transformer+upscaling"
    low_res_margin: float = -1.0
    refine: float = -1.0
    refine_masks: float = 0.04
    search_pool: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"option precision={self.precision} of sam is not one of {', '.join(PRECISIONS)}")
        if not set(self.precision_parts.split("+")) <= set(PARTS):
            raise ValueError(f"option precision_parts={self.precision_parts} of sam is not some of {'+'.join(PARTS)}")
        if self.search_pool not in (1, 2, 4) or (self.search_pool > 1 and self.refine < 0):
            raise ValueError("option search_pool of sam is 1, 2 or 4, and goes with refine=0.01 or so")
        smallest = self.points_per_side / self.crop_n_points_downscale_factor**self.crop_n_layers
        if smallest < 1:
            raise ValueError("option points_per_side of sam leaves no point in the smallest crops")
        if min(self.points_per_batch, self.encoder_batch, self.crop_n_layers) < 0:
            raise ValueError("options points_per_batch, encoder_batch and crop_n_layers of sam are not negative")

    def precision_of(self, part: str) -> str:
        return self.precision if part in self.precision_parts.split("+") else "float32"
