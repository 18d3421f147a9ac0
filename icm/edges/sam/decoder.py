"""SAM's mask decoder (Kirillov et al., ICCV 2023, appendix A) in two halves, so that predicted IoU decides first.

    tokens ─┬─two-way transformer──▶ IoU token ─▶ predicted IoU ──┐ only points with a mask above the threshold go on
    image ──┘ (N image tokens/point) ─────────────────────────────┴──▶ mask tokens, upscaling ─▶ low-resolution logits

It is the upstream network with its weights; only the order of the arithmetic differs:
* what no point changes is computed once a picture (keys, values and queries of the image in the first layer);
* what no picture changes once a grid of points (prompt embeddings, the first self-attention);
* in later layers the image's projections are moved over to the few tokens: q·(W k) = (Wᵀq)·k, so that the N image
  tokens of each point are multiplied by H·T columns of tokens rather than projected to I channels four times;
* of the final attention the IoU token's row comes first; upscaling leaves out what is cropped away as padding.

Shapes: B points, T tokens (IoU, masks, point, padding), N image tokens (h·w), C channels, I = H·D inner channels of H
heads, M masks a point (3).
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Prompts(NamedTuple):
    """A grid of points as the decoder sees it: tokens (P, T, C), and queries, after the first self-attention."""

    tokens: Tensor
    queries: Tensor

    def part(self, start: int, stop: int) -> Prompts:
        return Prompts(self.tokens[start:stop], self.queries[start:stop])


class Shared(NamedTuple):
    """One picture, as all points share it: (N, C), and in heads: first layer's keys, values, queries (H, N, D)."""

    image: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


class State(NamedTuple):
    """Points after the layers, before the final attention: tokens and queries (B, T, C), image (B, N, C)."""

    tokens: Tensor
    queries: Tensor
    image: Tensor

    def pick(self, points: Tensor) -> State:
        """Those at `points`, (B,) bool."""
        return self if points.all() else State(*(x[points] for x in self))


class SplitDecoder:
    """`model`: anything with SAM's `prompt_encoder` and `mask_decoder`. dtypes: of the transformer and of upscaling.

    Raises ValueError, one line, for a model built otherwise.
    """

    def __init__(self, model: Any, dtype: torch.dtype = torch.float32, upscale_dtype: torch.dtype = torch.float32):
        check_model(model)
        self.prompt_encoder, self.decoder = model.prompt_encoder, model.mask_decoder
        self.dtype, self.upscale_dtype = dtype, upscale_dtype
        self.transformer = _cast(model.mask_decoder.transformer, dtype)
        self.iou_head = model.mask_decoder.iou_prediction_head
        self.upscaling = _cast(model.mask_decoder.output_upscaling, upscale_dtype)
        position = model.prompt_encoder.get_dense_pe()[0]  # (C, h, w)
        self.grid = (position.shape[1], position.shape[2])
        self.position = position.flatten(1).T.to(dtype).contiguous()
        with torch.no_grad():  # what the position adds to keys and queries of every later layer, and to the last
            later = list(self.transformer.layers)[1:]
            self.key_position = [_heads(a.k_proj(self.position), a) for a in self._to_image(later)]
            self.query_position = [
                _heads(layer.cross_attn_image_to_token.q_proj(self.position), layer.cross_attn_image_to_token)
                for layer in later
            ]

    def pooled(self, side: int) -> SplitDecoder:
        """The same decoder of an image whose tokens are averaged in squares of `side`; what it shares, see `pool`."""
        if self.grid[0] % side or self.grid[1] % side:
            raise ValueError(f"option search_pool={side} of sam does not divide {self.grid[0]} x {self.grid[1]} tokens")
        small = copy.copy(self)
        small.grid = (self.grid[0] // side, self.grid[1] // side)
        small.position = self.pool(self.position, side)
        small.key_position = [self.pool(x, side) for x in self.key_position]
        small.query_position = [self.pool(x, side) for x in self.query_position]
        return small

    def pool(self, x: Tensor, side: int) -> Tensor:
        """(…, N, c) to (…, N / side², c)."""
        squares = x.unflatten(-2, (self.grid[0] // side, side, self.grid[1] // side, side))
        return squares.mean((-4, -2)).flatten(-3, -2)

    def _to_image(self, layers: list[Any]) -> list[Any]:
        return [layer.cross_attn_token_to_image for layer in layers] + [self.transformer.final_attn_token_to_image]

    def prompts(self, points: Tensor) -> Prompts:
        """Points (P, 2), x and y in the pixels of the encoder's input, float64 as upstream has them."""
        labels = torch.ones(len(points), 1, dtype=torch.int, device=points.device)
        sparse, _ = self.prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
        own = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(points), -1, -1), sparse], dim=1).to(self.dtype)
        return Prompts(tokens, _self_attention(self.transformer.layers[0], tokens, tokens))

    def share(self, embedding: Tensor) -> Shared:
        """Embedding of one picture (C, h, w)."""
        image = embedding + self.prompt_encoder.no_mask_embed.weight.reshape(-1, 1, 1)
        image = image.flatten(1).T.to(self.dtype).contiguous()
        first, placed = self.transformer.layers[0], image + self.position
        to_image, to_token = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        return Shared(
            image,
            _heads(to_image.k_proj(placed), to_image),
            _heads(to_image.v_proj(image), to_image),
            _heads(to_token.q_proj(placed), to_token),
        )

    def transform(self, shared: Shared, prompts: Prompts) -> State:
        """All layers of the two-way transformer for B points."""
        tokens, queries, image = prompts.tokens, prompts.queries, shared.image
        for i, layer in enumerate(self.transformer.layers):
            if i:
                queries = _self_attention(layer, queries, tokens)
            attention = layer.cross_attn_token_to_image
            q = attention.q_proj(queries + tokens)
            if i == 0:
                seen = _attend_shared(attention, q, shared.keys, shared.values)
            else:
                seen = _attend(attention, q, image, self.key_position[i - 1])
            queries = layer.norm2(queries + seen)
            queries = layer.norm3(queries + layer.mlp(queries))
            attention = layer.cross_attn_image_to_token
            k, v = attention.k_proj(queries + tokens), attention.v_proj(queries)
            if i == 0:
                scores = _scores_shared(attention, k, shared.queries)
            else:
                scores = _scores(attention, k, attention.q_proj.weight, image, self.query_position[i - 1])
            image = layer.norm4(_spread(attention, scores, v, image))
        return State(tokens, queries, image)

    def _read(self, state: State, wanted: slice) -> Tensor:
        """The final attention, for the `wanted` tokens alone: (B, t, C)."""
        queries, attention = state.queries[:, wanted], self.transformer.final_attn_token_to_image
        q = attention.q_proj(queries + state.tokens[:, wanted])
        seen = _attend(attention, q, state.image, self.key_position[-1])
        return self.transformer.norm_final_attn(queries + seen)

    def predicted_iou(self, state: State) -> Tensor:
        """(B, M) float32: what the decoder thinks of its M masks, before any is made."""
        return self.iou_head(self._read(state, slice(0, 1))[:, 0].float())[:, 1:]

    def logits(self, state: State, rows: int, columns: int) -> Tensor:
        """Low-resolution logits (B, M, 4 rows, 4 columns) float32 of the first rows and columns of image tokens."""
        masks = self.decoder.num_mask_tokens
        tokens = self._read(state, slice(2, 1 + masks)).float()
        heads = self.decoder.output_hypernetworks_mlps
        hyper = torch.stack([heads[1 + i](tokens[:, i]) for i in range(masks - 1)], dim=1)  # (B, M, C/8)
        image = state.image.unflatten(1, self.grid)[:, :rows, :columns]
        together = 1 if image.device.type == "cpu" else 32  # a point has 8 MiB here: one at a time for a cache
        parts = [
            self._upscale(x, h)
            for x, h in zip(image.split(together), hyper.to(self.upscale_dtype).split(together), strict=True)
        ]
        return torch.cat(parts)

    def _upscale(self, image: Tensor, hyper: Tensor) -> Tensor:
        """Logits (b, M, 4 r, 4 c) float32 of image tokens (b, r, c, C) and what the mask tokens became (b, M, C/8).

        Channels stay last, where a transposed convolution of kernel and stride 2 is a product with one matrix, and the
        norm over channels (upstream's LayerNorm2d, which has them first) is the ordinary one.
        """
        up1, norm, act1, up2, act2 = self.upscaling
        b, r, c = image.shape[:3]
        x = _up(up1, image.reshape(b * r * c, -1).to(self.upscale_dtype))
        x = _up(up2, act1(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps)))
        pixels = act2(x).view(b, r * c * 16, -1)
        flat = torch.bmm(hyper, pixels.transpose(1, 2)).view(b, -1, r, c, 2, 2, 2, 2)  # (b, M, r, c, y, x, y', x')
        return flat.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(b, -1, 4 * r, 4 * c).float()


def check_model(model: Any) -> None:
    """Raise ValueError where `model` lacks the parts of SAM that are taken apart here."""
    decoder = getattr(model, "mask_decoder", None)
    wanted = {
        "image_encoder.img_size": getattr(getattr(model, "image_encoder", None), "img_size", None),
        "prompt_encoder.get_dense_pe": getattr(getattr(model, "prompt_encoder", None), "get_dense_pe", None),
        "mask_decoder.transformer.final_attn_token_to_image": getattr(
            getattr(decoder, "transformer", None), "final_attn_token_to_image", None
        ),
        "mask_decoder.output_upscaling of 5 layers": len(getattr(decoder, "output_upscaling", ())) == 5 or None,
        "mask_decoder.output_hypernetworks_mlps": getattr(decoder, "output_hypernetworks_mlps", None),
    }
    missing = [name for name, part in wanted.items() if part is None]
    if missing:
        raise ValueError(f"{type(model).__name__} is not built as Segment Anything is: no {missing[0]}")


def _cast(module: Any, dtype: torch.dtype) -> Any:
    return module if next(module.parameters()).dtype == dtype else copy.deepcopy(module).to(dtype)


def _heads(x: Tensor, attention: Any) -> Tensor:
    """(n, I) to (H, n, D)."""
    return x.view(len(x), attention.num_heads, -1).transpose(0, 1).contiguous()


def _split(x: Tensor, attention: Any) -> Tensor:
    """Tokens (B, T, I) to (B, T, H, D), scaled as their scores are to be: one factor on T rows, not on N."""
    x = x.unflatten(-1, (attention.num_heads, -1))
    return x * x.shape[-1] ** -0.5


def _self_attention(layer: Any, queries: Tensor, tokens: Tensor) -> Tensor:
    if layer.skip_first_layer_pe:
        return layer.norm1(layer.self_attn(q=queries, k=queries, v=queries))
    placed = queries + tokens
    return layer.norm1(queries + layer.self_attn(q=placed, k=placed, v=queries))


def _scores_shared(attention: Any, x: Tensor, image: Tensor) -> Tensor:
    """Scores (B, H, T, N) of tokens (B, T, I) with what all points share (H, N, D): one product a head."""
    x = _split(x, attention)
    scores = x.flatten(0, 1).transpose(0, 1) @ image.transpose(1, 2)  # (H, B T, N)
    return scores.unflatten(1, x.shape[:2]).transpose(0, 1)


def _scores(attention: Any, x: Tensor, weight: Tensor, image: Tensor, position: Tensor) -> Tensor:
    """Scores (B, H, T, N) of tokens (B, T, I) with each point's own image (B, N, C), projected by `weight` (I, C).

    position: (H, N, D), what position and bias add to the projection, alike for all points.
    """
    moved = torch.einsum("bthd,hdc->bhtc", _split(x, attention), weight.unflatten(0, (attention.num_heads, -1)))
    scores = torch.bmm(moved.flatten(1, 2), image.transpose(1, 2)).unflatten(1, moved.shape[1:3])
    return scores.add_(_scores_shared(attention, x, position))


def _attend_shared(attention: Any, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Tokens look at what all points share; (B, T, C)."""
    count = q.shape[:2]
    weights = _scores_shared(attention, q, keys).transpose(0, 1).flatten(1, 2).softmax(-1)  # (H, B T, N)
    return attention.out_proj((weights @ values).transpose(0, 1).flatten(1)).unflatten(0, count)


def _attend(attention: Any, q: Tensor, image: Tensor, position: Tensor) -> Tensor:
    """Tokens look at their point's own image (B, N, C): pooled first, projected to values afterwards; (B, T, C)."""
    weights = _scores(attention, q, attention.k_proj.weight, image, position).softmax(-1)
    pooled = torch.bmm(weights.flatten(1, 2), image).unflatten(1, weights.shape[1:3])  # (B, H, T, C)
    weight = attention.v_proj.weight.unflatten(0, (attention.num_heads, -1))
    values = torch.einsum("bhtc,hdc->bthd", pooled, weight).flatten(2) + attention.v_proj.bias  # weights sum to 1
    return attention.out_proj(values)


def _spread(attention: Any, scores: Tensor, v: Tensor, image: Tensor) -> Tensor:
    """The image looks at the tokens: scores (B, H, T, N), their values (B, T, I), image (N, C) or (B, N, C) added."""
    weights = scores.contiguous().softmax(2)
    weight = attention.out_proj.weight.unflatten(1, (attention.num_heads, -1))  # (C, H, D)
    values = torch.einsum("bthd,chd->bhtc", v.unflatten(-1, (attention.num_heads, -1)), weight)
    values = values + attention.out_proj.bias / attention.num_heads  # each head's weights sum to 1
    weights, values = weights.flatten(1, 2).transpose(1, 2), values.flatten(1, 2)
    if image.ndim == 2:
        image = image.repeat(len(values), 1, 1)  # baddbmm of a view would copy it twice
    return image.baddbmm_(weights, values)  # this point's own, not needed again


def _up(layer: Any, x: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2 on pixels (n, c): (4 n, c'), the four of each pixel together."""
    weight = layer.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2 2 c', c)
    return F.linear(x, weight, layer.bias.repeat(4)).view(4 * len(x), -1)
