"""The masks of one picture that survived thresholds and suppression, packed eight pixels a byte, with their scores.

One pass at the lowest alpha serves every higher one. Within a crop suppression goes by predicted IoU: a mask never
suppresses a surer one, so the survivors of a higher alpha are those of a lower one, filtered. Between crops it goes by
the crop's size, and small regions are mended after it, so both wait until alpha is chosen (`select`).

Shapes: N masks of (H, W), packed (N, H, ceil(W / 8)) uint8, the leftmost pixel the highest bit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

COLUMNS = ("packed", "iou", "stability", "boxes", "points", "crops", "areas")


@dataclasses.dataclass(frozen=True)
class Survivors:
    """All on one device, in upstream's order. iou, stability (N,) float32; boxes, crops (N, 4) x0 y0 x1 y1 in pixels of
    the picture, the last pixel included in boxes; points (N, 2); areas (N,). width: W; crops_nms: threshold of the
    suppression between crops, None where there was one crop; small_region: area to mend, 0 for none."""

    width: int
    packed: Tensor
    iou: Tensor
    stability: Tensor
    boxes: Tensor
    points: Tensor
    crops: Tensor
    areas: Tensor
    crops_nms: float | None = None
    small_region: int = 0
    box_nms: float = 0.7

    def __len__(self) -> int:
        return len(self.iou)

    def pick(self, which: Tensor) -> Survivors:
        """Those at `which`, indices or a (N,) bool."""
        return self._with({name: getattr(self, name)[which] for name in COLUMNS})

    def to(self, device: str) -> Survivors:
        return self._with({name: getattr(self, name).to(device) for name in COLUMNS})

    def _with(self, columns: dict[str, Any]) -> Survivors:
        return dataclasses.replace(self, **columns)

    def select(self, alpha: float) -> Survivors:
        """What a run at `alpha` would have kept (at 0 or below, all). alpha must be no lower than that of the pass."""
        from torchvision.ops import batched_nms, box_area

        chosen = self.pick(self.iou > alpha) if alpha > 0 else self
        if self.crops_nms is not None and len(chosen):
            order = 1 / box_area(chosen.crops)  # masks of smaller crops win
            chosen = chosen.pick(batched_nms(chosen.boxes.float(), order, torch.zeros_like(chosen.iou), self.crops_nms))
        return chosen._mended() if self.small_region > 0 and len(chosen) else chosen

    def masks(self) -> Tensor:
        """(N, H, W) bool."""
        return unpack(self.packed, self.width)

    def label_map(self) -> np.ndarray:
        """(H, W) int32: mask i painted with i + 1, by the rule of `icm.edges.labels.painting_order`; 0 elsewhere."""
        areas, iou = self.areas.cpu().numpy(), self.iou.cpu().numpy().astype(np.float64)
        top = np.lexsort((np.arange(len(self)), -iou, areas))  # seen first: smallest, then surest, then earliest
        return paint(self.packed, torch.from_numpy(top).to(self.packed.device), self.width).cpu().numpy()

    def records(self) -> list[dict[str, Any]]:
        """As SamAutomaticMaskGenerator gives them, `segmentation` a (H, W) bool array."""
        masks, boxes, crops = self.masks().cpu().numpy(), _xywh(self.boxes), _xywh(self.crops)
        points, areas, iou, stability = (x.tolist() for x in (self.points, self.areas, self.iou, self.stability))
        return [
            {
                "segmentation": masks[i], "area": areas[i], "bbox": boxes[i], "predicted_iou": iou[i],
                "point_coords": [points[i]], "stability_score": stability[i], "crop_box": crops[i],
            }
            for i in range(len(self))
        ]  # fmt: skip

    def _mended(self) -> Survivors:
        """Small islands and holes removed, then suppression anew, untouched masks first. OpenCV has no batches."""
        from segment_anything.utils.amg import remove_small_regions
        from torchvision.ops import batched_nms

        masks, untouched = [], []
        for mask in self.masks().cpu().numpy():
            mask, filled = remove_small_regions(mask, self.small_region, mode="holes")
            mask, cut = remove_small_regions(mask, self.small_region, mode="islands")
            masks.append(mask)
            untouched.append(not (filled or cut))
        mended = torch.from_numpy(np.stack(masks)).to(self.packed.device)
        boxes, kept = boxes_of(mended), torch.tensor(untouched, device=self.packed.device)
        threshold = max(self.box_nms, self.crops_nms if self.crops_nms is not None else 0.0)
        keep = batched_nms(boxes.float(), kept.float(), torch.zeros_like(self.iou), threshold)
        return dataclasses.replace(
            self,
            packed=pack(mended),
            boxes=torch.where(kept[:, None], self.boxes, boxes),
            areas=mended.sum((1, 2)),
            small_region=0,
        ).pick(keep)


def joined(parts: list[Survivors]) -> Survivors:
    """Those of several crops, in their order."""
    return parts[0]._with({name: torch.cat([getattr(part, name) for part in parts]) for name in COLUMNS})


def pack(masks: Tensor) -> Tensor:
    """(N, H, W) bool to (N, H, ceil(W / 8)) uint8."""
    bits = torch.nn.functional.pad(masks, (0, -masks.shape[2] % 8)).view(torch.uint8)
    packed = bits[..., 0::8] << 7
    for i in range(1, 8):
        packed |= bits[..., i::8] << (7 - i)
    return packed


def unpack(packed: Tensor, width: int) -> Tensor:
    """(N, H, ceil(W / 8)) uint8 to (N, H, W) bool."""
    return _bits(packed).flatten(-2)[..., :width].bool()


def paint(packed: Tensor, top: Tensor, width: int) -> Tensor:
    """Label map (H, W) int32 of packed masks, label i + 1 for mask i; of overlapping ones the first in `top` is seen.

    What lies above each mask is a running OR over packed bytes, so no mask is unpacked but where it is seen.
    """
    count, height, row = packed.shape
    labels = torch.zeros(height * row, 8, dtype=torch.int32, device=packed.device)
    if count:
        ordered = packed[top].flatten(1)
        covered, step = ordered.clone(), 1
        while step < count:  # prefix sums by doubling, OR in place of plus
            covered[step:] |= covered[:-step].clone()
            step *= 2
        ordered[1:] &= ~covered[:-1]
        mask, byte = ordered.nonzero(as_tuple=True)
        seen = _bits(ordered[mask, byte]).to(torch.int32) * (top[mask, None].to(torch.int32) + 1)
        labels.index_add_(0, byte, seen)  # a pixel is seen in one mask: no two are added
    return labels.view(height, row * 8)[:, :width].contiguous()


def boxes_of(masks: Tensor) -> Tensor:
    """(N, 4) int64, x0 y0 x1 y1 of the outermost pixels of (N, H, W) bool; zeros for an empty mask."""
    if not len(masks):
        return torch.zeros(0, 4, dtype=torch.int64, device=masks.device)
    return extents(masks.any(1), masks.any(2))


def extents(columns: Tensor, rows: Tensor) -> Tensor:
    """(N, 4) int64, as `boxes_of`, of the columns (N, W) and rows (N, H) that hold pixels, bool."""
    x, y = columns.byte(), rows.byte()
    first_last = [x.argmax(1), y.argmax(1), x.shape[1] - 1 - x.flip(1).argmax(1), y.shape[1] - 1 - y.flip(1).argmax(1)]
    return torch.stack(first_last, dim=1) * columns.any(1, keepdim=True)


def _bits(packed: Tensor) -> Tensor:
    """(…) uint8 to (…, 8), the highest bit first."""
    return (packed[..., None] >> torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)) & 1


def _xywh(boxes: Tensor) -> list[list[int]]:
    return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist()
