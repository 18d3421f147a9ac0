"""Pictures to the masks of everything in them, as SamAutomaticMaskGenerator finds them, a few times faster.

    pictures ─crops─▶ encoder (batches) ─▶ for each crop, points in batches:
        transformer ─▶ predicted IoU > alpha? ─▶ upscaling ─▶ stability ─▶ box at the crop's edge? ─▶ packed
    then suppression within the crop; between crops: `Survivors.select`

Shapes: P points a grid, B of them at a time, M masks a point, n candidates, crop (h, w) in a picture (H, W), in pixels.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from icm.edges.sam.decoder import Prompts, SplitDecoder
from icm.edges.sam.encoder import encode
from icm.edges.sam.options import Options
from icm.edges.sam.refine import refined
from icm.edges.sam.resize import Resize
from icm.edges.sam.survivors import Survivors, boxes_of, joined, pack

CANDIDATES = 2**25
"""Pixels of full-size logits at a time, at most: 128 MiB in float32."""


class Everything:
    """`model`: SAM, or any with its prompt encoder and mask decoder. Raises ValueError for one built otherwise."""

    def __init__(self, model: Any, options: Options | None = None) -> None:
        from segment_anything.utils.amg import build_all_layer_point_grids
        from segment_anything.utils.transforms import ResizeLongestSide

        self.model, self.options = model, options or Options()
        o = self.options
        dtype = {part: getattr(torch, o.precision_of(part)) for part in ("encoder", "transformer", "upscaling")}
        with torch.inference_mode():
            self.decoder = SplitDecoder(model, dtype["transformer"], dtype["upscaling"])
            self.exact = SplitDecoder(model) if o.refine >= 0 else self.decoder
            self.pooled = self.decoder.pooled(o.search_pool) if o.search_pool > 1 else self.decoder
        self.encoder, self.encoder_dtype = model.image_encoder, dtype["encoder"]
        if self.encoder_dtype != torch.float32:
            self.encoder = copy.deepcopy(model.image_encoder).to(self.encoder_dtype)
        self.device = model.prompt_encoder.no_mask_embed.weight.device
        self.transform = ResizeLongestSide(model.image_encoder.img_size)
        self.threshold = getattr(model, "mask_threshold", 0.0)
        self.grids = build_all_layer_point_grids(o.points_per_side, o.crop_n_layers, o.crop_n_points_downscale_factor)
        cpu = self.device.type == "cpu"  # there, the image tokens of a few points (4 MiB each) fit the cache
        self.points_per_batch = o.points_per_batch or (4 if cpu else 128)
        self.encoder_batch = o.encoder_batch or (1 if cpu else 8)
        self._prompts = functools.lru_cache(maxsize=8)(self._make_prompts)
        self._exact_prompts = functools.lru_cache(maxsize=8)(self._make_exact_prompts)
        self._resize = functools.lru_cache(maxsize=8)(self._make_resize)
        self._small_resize = functools.lru_cache(maxsize=8)(self._make_small_resize)

    def __call__(self, pictures: Sequence[np.ndarray], alpha: float) -> list[Survivors]:
        """Masks of each picture (H, W, 3) uint8 RGB that survive at `alpha` (0 or below: any predicted IoU)."""
        from segment_anything.utils.amg import generate_crop_boxes

        o = self.options
        crops = []
        for i, picture in enumerate(pictures):
            boxes, layers = generate_crop_boxes(picture.shape[:2], o.crop_n_layers, o.crop_overlap_ratio)
            crops += [(i, box, layer) for box, layer in zip(boxes, layers, strict=True)]
        found: list[list[Survivors]] = [[] for _ in pictures]
        with torch.inference_mode():
            for start in range(0, len(crops), self.encoder_batch):
                group = crops[start : start + self.encoder_batch]
                cut = [pictures[i][box[1] : box[3], box[0] : box[2]] for i, box, _ in group]
                for (i, box, layer), embedding in zip(group, self.encode(cut), strict=True):
                    found[i].append(self._crop(embedding, box, layer, pictures[i].shape[:2], alpha))
            return [joined(parts) for parts in found]

    def encode(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Embeddings (B, C, h, w) float32 of pictures (H, W, 3) of any sizes, in one batch."""
        inputs = []
        for picture in pictures:
            resized = torch.as_tensor(self.transform.apply_image(picture), device=self.device)
            inputs.append(self.model.preprocess(resized.permute(2, 0, 1).contiguous()[None])[0])
        return encode(self.encoder, torch.stack(inputs).to(self.encoder_dtype)).float()

    def _crop(self, embedding: Tensor, box: list[int], layer: int, size: tuple[int, ...], alpha: float) -> Survivors:
        """One crop of a picture of `size` (H, W), suppression within it done."""
        from torchvision.ops import batched_nms

        o, shape = self.options, (box[3] - box[1], box[2] - box[0])
        if o.refine >= 0:
            parts = refined(self, embedding, box, layer, size, alpha)
        else:
            parts = self._all_points(embedding, box, layer, size, alpha)
        if not parts:
            none = torch.zeros(0, device=self.device)
            parts = list(self._survive(none.view(0, 1, 1), none, none.view(0, 2), self._resize(shape), box, size))
        crop = joined(parts)
        keep = batched_nms(crop.boxes.float(), crop.iou, torch.zeros_like(crop.iou), o.box_nms_thresh)
        corner = torch.tensor([box[0], box[1]], device=self.device)
        return dataclasses.replace(crop, boxes=crop.boxes + corner.repeat(2), points=crop.points + corner).pick(keep)

    def _all_points(
        self, embedding: Tensor, box: list[int], layer: int, size: tuple[int, ...], alpha: float
    ) -> list[Survivors]:
        """Of every point of a crop: the masks above the thresholds, suppression still to come."""
        shape = (box[3] - box[1], box[2] - box[0])
        prompts, resize, grid = self._prompts(layer, shape), self._resize(shape), self._grid(layer, shape)
        shared = self.decoder.share(embedding)
        parts: list[Survivors] = []
        for start in range(0, len(grid), self.points_per_batch):
            stop = min(len(grid), start + self.points_per_batch)
            state = self.decoder.transform(shared, prompts.part(start, stop))
            iou = self.decoder.predicted_iou(state)
            wanted = iou > alpha if alpha > 0 else torch.ones_like(iou, dtype=torch.bool)  # (B, M)
            point = wanted.any(1)
            if point.any():
                logits = self.decoder.logits(state.pick(point), *resize.tokens)[wanted[point]]
                points = grid[start:stop].repeat_interleave(iou.shape[1], 0)[wanted.flatten()]
                parts += self._survive(logits, iou[wanted], points, resize, box, size)
        return parts

    def _survive(
        self, logits: Tensor, iou: Tensor, points: Tensor, resize: Resize, box: list[int], size: tuple[int, ...]
    ) -> Iterator[Survivors]:
        """Of candidates' logits (n, r, c): those stable and not cut off by their crop, a bounded number at a time."""
        from segment_anything.utils.amg import calculate_stability_score, is_box_near_crop_edge

        o, whole = self.options, [0, 0, size[1], size[0]]
        if o.low_res_margin >= 0 and o.stability_score_thresh > 0:
            rough = calculate_stability_score(resize.inside(logits), self.threshold, o.stability_score_offset)
            keep = rough >= o.stability_score_thresh - o.low_res_margin
            logits, iou, points = logits[keep], iou[keep], points[keep]
        step = max(1, CANDIDATES // (resize.size[0] * resize.size[1]))
        for start in range(0, max(1, len(logits)), step):
            some = slice(start, start + step)
            large = resize(logits[some]) if len(logits) else logits.new_empty(0, *resize.size)
            stability = calculate_stability_score(large, self.threshold, o.stability_score_offset)
            stable = torch.ones_like(stability, dtype=torch.bool)
            if o.stability_score_thresh > 0:
                stable = stability >= o.stability_score_thresh
            masks = large[stable] > self.threshold
            boxes = boxes_of(masks)
            whole_enough = ~is_box_near_crop_edge(boxes, box, whole)
            if not whole_enough.all():
                masks, boxes = masks[whole_enough], boxes[whole_enough]
                stable[stable.clone()] = whole_enough
            x0, y0, x1, y1 = box
            yield Survivors(
                width=size[1],
                packed=pack(F.pad(masks, (x0, size[1] - x1, y0, size[0] - y1)) if box != whole else masks),
                iou=iou[some][stable],
                stability=stability[stable],
                boxes=boxes,
                points=points[some][stable],
                crops=torch.tensor(box, device=self.device).expand(len(boxes), 4),
                areas=masks.sum(-1, dtype=torch.int32).sum(-1),
                crops_nms=o.crop_nms_thresh if o.crop_n_layers else None,
                small_region=o.min_mask_region_area,
                box_nms=o.box_nms_thresh,
            )

    def _grid(self, layer: int, shape: tuple[int, int]) -> Tensor:
        """Points (P, 2), x and y in pixels of a crop of `shape`."""
        return torch.from_numpy(self.grids[layer] * np.array([shape[1], shape[0]])).to(self.device)

    def _make_prompts(self, layer: int, shape: tuple[int, int]) -> Prompts:
        return self.decoder.prompts(self._points(layer, shape))

    def _make_exact_prompts(self, layer: int, shape: tuple[int, int]) -> Prompts:
        return self.exact.prompts(self._points(layer, shape))

    def _points(self, layer: int, shape: tuple[int, int]) -> Tensor:
        """`_grid` in pixels of the encoder's input."""
        points = self.transform.apply_coords(self.grids[layer] * np.array([shape[1], shape[0]]), shape)
        return torch.from_numpy(points).to(self.device)

    def _make_resize(self, shape: tuple[int, int], decoder: SplitDecoder | None = None) -> Resize:
        side = self.model.image_encoder.img_size
        used = self.transform.get_preprocess_shape(*shape, side)
        return Resize(4 * (decoder or self.decoder).grid[0], side, used, shape, self.device)

    def _make_small_resize(self, shape: tuple[int, int]) -> Resize:
        return self._make_resize(shape, self.pooled)
