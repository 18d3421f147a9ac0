"""A Segment Anything model with random weights that behaves as a trained one does where speed and agreement show it.

Weights drawn as layers usually are give every point much the same picture-wide texture: box suppression leaves one
mask, and there is nothing to compare. Here they are random too, no gradient has touched them, but drawn so that a mask
is a region around its point with steep edges, and predicted IoU differs from mask to mask:

draw: half of the position code's frequencies are set apart for place. Queries and keys of the cross attentions pick
these channels, a random choice for each head, the same for both, so that a score is a kernel of the distance between an
image token and the point; values and the learned tokens use the other channels. All else in the mask decoder is
Gaussian; norms make the image's content a quarter as loud as place. The four subpixels of each upscaling are alike
(drawn apart they make a chequerboard), so the steps of a mask's outline are those of the encoder's grid.

aim: what initialisation by data does for the scale of layers is done for the decoder's outputs, on some pictures. The
bias of each mask's hypernetwork becomes the direction (Fisher's discriminant) in which features near a point differ
from those elsewhere, near being a radius for each of the three masks; its weights, still random, vary this from point
to point; predicted IoU gets a mean of 0.6 and a spread of 0.1.

The encoder is as torch draws it. Masks follow the picture's content a little and are no objects: seconds and agreement
can be read off, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CONTENT, TOKENS, NORMS, KICK, PEAK = 0.25, 0.3, 0.5, 5.0, 5.0
"""Standard deviations of the embedding and of learned tokens, norms of tokens, gain of what images take from tokens,
score of a head where an image token lies at the point."""
RADII = (0.05, 0.09, 0.13)
"""Of the three masks, of the longer side."""
STEEP, MIX, RIDGE = 20.0, 0.3, 0.2
"""Logits a standard deviation of features; share of the random weights in them; regularisation of Fisher's matrix."""


def random_vit_b(pictures: Sequence[np.ndarray]) -> Any:
    """ViT-B, drawn with seed 0 and aimed on `pictures` (none: not aimed, its decoder is to be loaded)."""
    from segment_anything import sam_model_registry

    torch.manual_seed(0)
    model = sam_model_registry["vit_b"](checkpoint=None).eval()
    draw(model)
    if pictures:
        aim(model, pictures)
    return model


@torch.no_grad()
def draw(model: Any, seed: int = 0) -> None:
    """Draw the prompt encoder's and the mask decoder's weights anew, in place."""
    random = torch.Generator().manual_seed(seed)
    decoder, prompts = model.mask_decoder, model.prompt_encoder
    transformer, code = decoder.transformer, prompts.pe_layer.positional_encoding_gaussian_matrix
    frequencies = code.shape[1]
    place = torch.randperm(frequencies, generator=random)[: frequencies // 2]
    channels = torch.cat([place, place + frequencies])  # sines, then cosines
    code.normal_(generator=random)
    for weight in decoder.parameters():
        if weight.ndim > 1:
            weight.normal_(0, weight[0].numel() ** -0.5, generator=random)
    tokens = {decoder.iou_token: TOKENS, decoder.mask_tokens: TOKENS, prompts.not_a_point_embed: TOKENS}
    for token, spread in {**tokens, **dict.fromkeys(prompts.point_embeddings, 1.0)}.items():
        token.weight.normal_(0, 2**0.5 * spread, generator=random)
        token.weight[:, channels] = 0
    prompts.no_mask_embed.weight.normal_(0, 0.1, generator=random)
    model.image_encoder.neck[-1].weight.mul_(CONTENT)
    for layer in transformer.layers:
        layer.norm4.weight.mul_(CONTENT)
        for norm in (layer.norm1, layer.norm2, layer.norm3):
            norm.weight.mul_(NORMS)
        to_token = layer.cross_attn_image_to_token
        to_token.v_proj.weight[:, channels] = 0
        to_token.out_proj.weight.mul_(KICK)
        for attention in (to_token, layer.cross_attn_token_to_image):
            _look_at_place(attention, place, frequencies, random)
    _look_at_place(transformer.final_attn_token_to_image, place, frequencies, random)
    for layer in (decoder.output_upscaling[0], decoder.output_upscaling[3]):
        layer.weight.normal_(0, layer.weight.shape[0] ** -0.5, generator=random)
        layer.weight.copy_(3 * layer.weight.mean((2, 3), keepdim=True))


def _look_at_place(attention: Any, place: Tensor, frequencies: int, random: torch.Generator) -> None:
    """Queries and keys pick the sine and cosine of some frequencies of `place`, as many as a head has room for."""
    heads, inner = attention.num_heads, attention.q_proj.weight.shape[0]
    room = inner // heads // 2
    gain = (PEAK * (2 * room) ** 0.5 / room) ** 0.5  # room frequencies give sin² + cos² each, scores are over √(2 room)
    attention.q_proj.weight.zero_()
    picked = place[torch.randperm(len(place), generator=random)].repeat(-(-heads * room // len(place)))
    for row, frequency in enumerate(picked[: heads * room].tolist()):
        attention.q_proj.weight[2 * row, frequency] = gain
        attention.q_proj.weight[2 * row + 1, frequencies + frequency] = gain
    attention.k_proj.weight.copy_(attention.q_proj.weight)


@torch.no_grad()
def aim(model: Any, pictures: Sequence[np.ndarray], side: int = 5) -> None:
    """Set, in place, the outputs of the hypernetworks and of the IoU head by what they give on `pictures`."""
    from icm.edges.sam.everything import Everything
    from icm.edges.sam.options import Options

    everything = Everything(model, Options(points_per_side=side))
    split = everything.decoder
    ious, logits, features, distances = [], [], [], []
    for picture in pictures:
        shape = picture.shape[:2]
        resize, prompts = everything._resize(shape), everything._prompts(0, shape)
        rows, columns = resize.tokens
        shared = split.share(everything.encode([picture])[0])
        for start in range(side * side):
            state = split.transform(shared, prompts.part(start, start + 1))
            ious.append(split.predicted_iou(state))
            logits.append(split.logits(state, rows, columns)[0, :, 2::4, 2::4].flatten(1))
            features.append(_features(split, state.image.unflatten(1, split.grid)[:, :rows, :columns]).flatten(0, 2))
        away = _distances(torch.from_numpy(everything.grids[0]).float(), (rows, columns), shape).flatten(1)
        distances += list(away)
    iou, logit, u, distance = torch.cat(ious), torch.cat(logits, 1), torch.cat(features), torch.cat(distances)
    mean = u.mean(0)
    scatter = (u - mean).T @ (u - mean) / len(u)
    scatter += RIDGE * scatter.diagonal().mean() * torch.eye(len(scatter))
    closest = max(float(away.min()) for away in distances)  # at least one token a point is near
    heads = model.mask_decoder.output_hypernetworks_mlps
    for i, radius in enumerate(RADII[: iou.shape[1]]):
        near = distance <= max(radius, closest)
        towards = torch.linalg.solve(scatter, u[near].mean(0) - mean)
        towards /= ((u - mean) @ towards).std()
        level = float(np.quantile(((u - mean) @ towards).numpy(), 1 - float(near.float().mean())))
        last = heads[1 + i].layers[-1]
        last.weight.mul_(STEEP * MIX / logit[i].std())
        last.bias.copy_(STEEP * (towards - (mean @ towards + level) * mean / (mean @ mean)))
    last = model.mask_decoder.iou_prediction_head.layers[-1]
    gain = 0.1 / iou.std(0).mean()
    last.weight.mul_(gain)
    last.bias.mul_(gain)
    last.bias[1:] += 0.6 - gain * iou.mean(0)  # upstream filters by positive IoU only


def _features(split: Any, image: Tensor) -> Tensor:
    """What hypernetworks multiply, of image tokens (1, r, c, C): (1, r, c, C / 8), a subpixel of each (all alike)."""
    up1, norm, act1, up2, act2 = split.upscaling
    x = F.linear(image, up1.weight[:, :, 0, 0].T, up1.bias)
    x = act1(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
    return act2(F.linear(x, up2.weight[:, :, 0, 0].T, up2.bias))


def _distances(points: Tensor, grid: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """(P, r, c): of image tokens from points (P, 2), x and y in 0..1, in units of the picture's longer side."""
    height, width = shape[0] / max(shape), shape[1] / max(shape)
    y = (torch.arange(grid[0]) + 0.5) / grid[0] * height
    x = (torch.arange(grid[1]) + 0.5) / grid[1] * width
    return torch.hypot(y[None, :, None] - points[:, 1, None, None] * height, x - points[:, 0, None, None] * width)
