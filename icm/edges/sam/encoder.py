"""SAM's image encoder (ViT with decomposed relative positions) without its largest tensors.

Upstream's global attention keeps all scores at once, three times over: 12 heads of 4096 x 4096 are 0.8 GB. Here they
are made a few rows of queries at a time, which stay in a cache, and changed in place. The sums are the same.

Shapes: x (B, h, w, C), scores (B·heads, queries, h·w).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SCORES_CPU, SCORES_GPU = 2**20, 2**28
"""Elements of scores at a time: 4 MiB in float32 for a processor's cache, 1 GiB where memory is wide."""


def encode(encoder: Any, x: Tensor) -> Tensor:
    """Embeddings (B, C, h, w) of inputs (B, 3, side, side), by any encoder; upstream's own is helped."""
    if not _is_upstreams(encoder):
        return encoder(x)
    x = encoder.patch_embed(x)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block in encoder.blocks:
        if block.window_size > 0 or not block.attn.use_rel_pos:
            x = block(x)
        else:
            x = x + attend(block.attn, block.norm1(x))
            x = x + block.mlp(block.norm2(x))
    return encoder.neck(x.permute(0, 3, 1, 2))


def attend(attention: Any, x: Tensor) -> Tensor:
    """What upstream's Attention gives for x (B, h, w, C), in chunks of query rows."""
    from segment_anything.modeling.image_encoder import get_rel_pos

    b, h, w, c = x.shape
    heads = attention.num_heads
    q, k, v = attention.qkv(x).view(b, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4).flatten(1, 2)  # (B heads, h w, D)
    from_rows = get_rel_pos(h, h, attention.rel_pos_h)  # (h, h, D): of the query's row and the key's
    from_columns = get_rel_pos(w, w, attention.rel_pos_w)
    out, keys = torch.empty_like(q), k.transpose(1, 2)
    limit = SCORES_CPU if x.device.type == "cpu" else SCORES_GPU
    some_heads = max(1, min(len(q), limit // (w * h * w)))  # at least one row of queries of one head
    rows = max(1, min(h, limit // (some_heads * w * h * w)))
    for first in range(0, len(q), some_heads):
        head = slice(first, first + some_heads)
        for start in range(0, h, rows):
            stop = min(h, start + rows)
            part = q[head, start * w : stop * w]
            placed = part.unflatten(1, (stop - start, w))  # (heads, rows, w, D)
            scores = torch.bmm(part * attention.scale, keys[head]).view(*placed.shape[:3], h, w)
            scores += torch.einsum("brwc,rkc->brwk", placed, from_rows[start:stop])[..., None]
            scores += torch.einsum("brwc,wkc->brwk", placed, from_columns)[..., None, :]
            weights = scores.flatten(3).flatten(1, 2).softmax(-1)
            out[head, start * w : stop * w] = torch.bmm(weights, v[head])
    joined = out.view(b, heads, h, w, -1).permute(0, 2, 3, 1, 4).reshape(b, h, w, c)
    return attention.proj(joined)


def _is_upstreams(encoder: Any) -> bool:
    from segment_anything.modeling import ImageEncoderViT

    return type(encoder) is ImageEncoderViT
