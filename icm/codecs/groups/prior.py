"""The prior of `groups`: every cell by itself, from its group's hyper data and its own channels. All 1×1, in integers.

    z_int (blocks) ──▶ h_s: 1×1, shuffle, 1×1, shuffle ──▶ features of each cell
    slice i of y:  features, y_hat of slices 0 … i − 1 ──▶ 1×1 ──▶ 1×1 ──▶ (mu, index)     (ChARM, arXiv 2007.08739)

Shapes: z (blocks, Nz); features (w, n) and slices (m, n) of n cells are held as (1, ·, n, 1), as convolutions take
them. Units and bits as in icm/prior/dual.py, whose layers these are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.codecs.groups.layout import BLOCK, Layout
from icm.prior.dual import BITS, HYPER_MAX, LATENT_MAX, Head, hidden
from icm.prior.integer import CodingConv, IntegerConv2d, ste_round


def to_cells(x: Tensor, layout: Layout) -> Tensor:
    """(blocks, w, 4, 4) → (1, w, n, 1): each cell's own place in its block."""
    _, place, count = layout.blocks
    flat = x.permute(1, 0, 2, 3).reshape(x.shape[1], count * BLOCK * BLOCK)
    return flat[None, :, place, None]


class GroupPrior(nn.Module):
    """See the module's drawing. These methods are for training; `coding()` gives the integer twin that streams use."""

    def __init__(self, latent: int, hyper: int, width: int, slices: int) -> None:
        super().__init__()
        if latent % slices:
            raise ValueError(f"groups: {latent} channels make no {slices} equal slices")
        self.slices, self.share = slices, latent // slices
        self.up_1 = hidden(hyper, 4 * width, 1, in_bits=0, in_max=HYPER_MAX)
        self.up_2 = hidden(width, 4 * width, 1)
        self.heads = nn.ModuleList(Head(width + i * self.share, 2 * width, self.share) for i in range(slices))

    def use_integers(self) -> None:
        """Enter the integer phase of training."""
        for layer in self.modules():
            if isinstance(layer, IntegerConv2d):
                layer.use_integers()

    def features(self, z: Tensor, layout: Layout) -> Tensor:
        """z (blocks, Nz), rounded; clamped here → (1, w, n, 1)."""
        x = F.pixel_shuffle(self.up_1(z.clamp(-HYPER_MAX, HYPER_MAX)[:, :, None, None]), 2)
        return to_cells(F.pixel_shuffle(self.up_2(x), 2), layout)

    def slice(self, i: int, features: Tensor, y_hat: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(mu, index) of slice i, both (1, m, n, 1); y_hat: the slices before it."""
        limit = LATENT_MAX / 2**BITS
        seen = [part.clamp(-limit, limit) for part in y_hat]
        if self.up_1.integers:
            seen = [ste_round(part * 2**BITS) / 2**BITS for part in seen]
        return self.heads[i](torch.cat([features, *seen], 1))

    def coding(self) -> CodingGroupPrior:
        """The frozen integer twin. Raises ValueError where an accumulator could leave 2^24."""
        return CodingGroupPrior(self)


class CodingGroupPrior:
    """Integers in, integers out, in float64: all that decides which table codes a symbol."""

    def __init__(self, prior: GroupPrior) -> None:
        self.slices, self.share = prior.slices, prior.share
        self.up_1, self.up_2 = CodingConv(prior.up_1), CodingConv(prior.up_2)
        self.heads = [tuple(CodingConv(m) for m in (h.hidden, h.mean, h.index)) for h in prior.heads]  # type: ignore[arg-type]

    @torch.no_grad()
    def features(self, z: Tensor, layout: Layout) -> Tensor:
        """z: integers (blocks, Nz) → integer features (1, w, n, 1)."""
        x = F.pixel_shuffle(self.up_1(z.double().clamp(-HYPER_MAX, HYPER_MAX)[:, :, None, None]), 2)
        return to_cells(F.pixel_shuffle(self.up_2(x), 2), layout)

    @torch.no_grad()
    def slice(self, i: int, features: Tensor, y_hat: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(mu·16, index·16) of slice i, (m, n) int64; y_hat: integers ·16 of the slices before it, (m, n)."""
        seen = [part.double().clamp(-LATENT_MAX, LATENT_MAX)[None, :, :, None] for part in y_hat]
        first, mean, index = self.heads[i]
        x = first(torch.cat([features, *seen], 1))
        return mean(x)[0, :, :, 0].long(), index(x)[0, :, :, 0].long()
