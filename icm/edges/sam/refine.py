"""Search cheaply, make in float32: few of the masks found are kept, and only these need be exact.

    all points ─search decoder─▶ rough candidates: predicted IoU, stability and box, at low resolution
        ─rounds─▶ of those that no mask made so far surely suppresses, the surest: made in float32 ─▶ survivors

The search decoder works in a short format, or on averaged image tokens: predicted IoU gathers from all of them, and
hardly notices. A candidate is left out when it is below a threshold by more than the margins of the options, or when a
finished mask is surer and overlaps by more than they say beyond the threshold of suppression. Where rough figures stay
within the margins the masks are those of float32.

Shapes: n rough candidates; points P; crop (h, w); low-resolution logits (b, M, r, c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from icm.edges.sam.decoder import Prompts, Shared, SplitDecoder
from icm.edges.sam.options import Options
from icm.edges.sam.resize import Resize
from icm.edges.sam.survivors import Survivors, joined

if TYPE_CHECKING:
    from icm.edges.sam.everything import Everything


class Rough(NamedTuple):
    """Candidates of the search: the index of their point (n,), which of its masks (n,), predicted IoU (n,), boxes
    (n, 4) x0 y0 x1 y1 in pixels of the crop, the last included."""

    point: Tensor
    mask: Tensor
    iou: Tensor
    boxes: Tensor


def search(
    decoder: SplitDecoder, shared: Shared, prompts: Prompts, resize: Resize, alpha: float, options: Options, step: int,
    threshold: float,
) -> Rough:  # fmt: skip
    """The candidates that may pass, `step` points at a time."""
    from segment_anything.utils.amg import calculate_stability_score

    least = alpha - options.refine if alpha > 0 else -torch.inf
    parts: list[Rough] = []
    for start in range(0, len(prompts.tokens), step):
        state = decoder.transform(shared, prompts.part(start, start + step))
        iou = decoder.predicted_iou(state)
        wanted = iou > least
        point = wanted.any(1)
        if not point.any():
            continue
        logits = resize.inside(decoder.logits(state.pick(point), *resize.tokens)[wanted[point]])
        stability = calculate_stability_score(logits, threshold, options.stability_score_offset)
        keep = stability >= options.stability_score_thresh - options.refine_masks
        if options.stability_score_thresh <= 0:
            keep = torch.ones_like(keep)
        which = wanted.nonzero()[keep]  # (n, 2)
        boxes = resize.boxes(logits[keep], threshold)
        parts.append(Rough(start + which[:, 0], which[:, 1], iou[wanted][keep], boxes))
    if not parts:
        none = torch.zeros(0, dtype=torch.int64, device=prompts.tokens.device)
        return Rough(none, none, none.float(), none.view(0, 1).expand(0, 4))
    return Rough(*(torch.cat(column) for column in zip(*parts, strict=True)))


def refined(
    everything: Everything, embedding: Tensor, box: list[int], layer: int, size: tuple[int, ...], alpha: float
) -> list[Survivors]:
    """Masks in float32 among which are those of one crop that survive; suppression among them is the caller's."""
    from torchvision.ops import batched_nms, box_iou

    o, shape = everything.options, (box[3] - box[1], box[2] - box[0])
    resize, grid, step = everything._resize(shape), everything._grid(layer, shape), everything.points_per_batch
    decoder, small, side = everything.decoder, resize, o.search_pool
    shared = decoder.share(embedding)
    if side > 1:
        shared = Shared(*(decoder.pool(x, side) for x in shared))
        decoder, small = everything.pooled, everything._small_resize(shape)
    many = step * side**2  # as much image as without pooling
    rough = search(decoder, shared, everything._prompts(layer, shape), small, alpha, o, many, everything.threshold)
    shared, prompts = everything.exact.share(embedding), everything._exact_prompts(layer, shape)
    made, pool = torch.zeros_like(rough.point, dtype=torch.bool), list[Survivors]()
    while True:
        left = ~made
        if pool:
            done = joined(pool)
            done = done.pick(batched_nms(done.boxes.float(), done.iou, torch.zeros_like(done.iou), o.box_nms_thresh))
            surer = done.iou > rough.iou[:, None] + o.refine
            over = box_iou(rough.boxes.float(), done.boxes.float()) > o.box_nms_thresh + o.refine_masks
            left &= ~(surer & over).any(1)
        index = left.nonzero()[:, 0]
        if not len(index):
            return pool
        iou = rough.iou[index]
        first = index[batched_nms(rough.boxes[index].float(), iou, torch.zeros_like(iou), o.box_nms_thresh)]
        for points in rough.point[first].unique().split(step):
            here = torch.isin(rough.point, points)  # a point's other candidates cost little beside it
            made |= here
            state = everything.exact.transform(shared, Prompts(prompts.tokens[points], prompts.queries[points]))
            iou = everything.exact.predicted_iou(state)
            wanted = torch.zeros_like(iou, dtype=torch.bool)
            wanted[torch.searchsorted(points, rough.point[here]), rough.mask[here]] = True
            if alpha > 0:
                wanted &= iou > alpha
            if wanted.any():
                point = wanted.any(1)
                logits = everything.exact.logits(state.pick(point), *resize.tokens)[wanted[point]]
                at = grid[points].repeat_interleave(iou.shape[1], 0)[wanted.flatten()]
                pool += everything._survive(logits, iou[wanted], at, resize, box, size)
