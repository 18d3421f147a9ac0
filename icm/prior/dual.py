"""The two-step conditional prior of `sa-icm-s`: hyper-latent first, then half of the latent helps to code the other.

    z_int ──▶ h_s ──▶ features ──┬──▶ first head ──▶ (mu, index) of step 1
                                 └──┐
    y_hat of step 1 ──▶ context ────┴▶ second head ─▶ (mu, index) of step 2

Step 1 holds one half of the channels where row + column is even and the other half where it is odd; step 2 is the
rest, so that every symbol of step 2 sees its four neighbours and half of the channels of its own position
(the two-step distribution estimation of DCVC-DC, arXiv 2302.14402, Sec. 3.3, without its quadtree).

Shapes: z (B, Nz, ceil(h/4), ceil(w/4)), y (B, M, h, w). Every activation has 4 fractional bits (integer 16 is 1.0).
`mu` is in units of the latent; `index` counts steps of the table of scales, ln(sigma) = ln(sigma_0) + index·ln(r),
before the offset of the quality is added (icm/quality.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from icm.prior.integer import CodingConv, IntegerConv2d, ste_round

BITS = 4  # fractional bits of every activation
LATENT_MAX = 1023  # magnitude at which y_hat enters the context: 64 units of the latent
HIDDEN_MAX = 1023
HYPER_MAX = 127
MEAN_MAX = 2**14
INDEX_GAIN = 8.0  # the network's unit of log-scale is 8 table steps, so that its outputs stay near 1
INDEX_BITS = 7  # 2**7 / INDEX_GAIN = 16: the index, too, comes with 4 fractional bits
INDEX_MAX = 64 * 16


def step_mask(channels: int, height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Boolean (channels, height, width): True where a symbol belongs to step 1."""
    rows = torch.arange(height, device=device)[:, None]
    odd = (rows + torch.arange(width, device=device)[None]) % 2 == 1
    upper = torch.arange(channels, device=device) >= channels // 2
    return odd[None] == upper[:, None, None]


def hidden(
    in_channels: int, out_channels: int, kernel: int, in_bits: int = BITS, in_max: int = HIDDEN_MAX
) -> IntegerConv2d:
    """An integer convolution with a ReLU clipped at 1023/16."""
    return IntegerConv2d(
        in_channels, out_channels, kernel, in_bits=in_bits, out_bits=BITS, in_max=in_max, low=0, high=HIDDEN_MAX
    )


class Head(nn.Module):
    """Features → (mu, index), both (B, M, h, w): one hidden layer of 1×1, then a layer each."""

    def __init__(self, in_channels: int, width: int, latent: int) -> None:
        super().__init__()
        self.hidden = hidden(in_channels, width, 1)
        self.mean = IntegerConv2d(
            width, latent, 1, in_bits=BITS, out_bits=BITS, in_max=HIDDEN_MAX, low=-MEAN_MAX, high=MEAN_MAX
        )
        self.index = IntegerConv2d(
            width, latent, 1, in_bits=BITS, out_bits=INDEX_BITS, in_max=HIDDEN_MAX, low=-INDEX_MAX, high=INDEX_MAX
        )
        with torch.no_grad():
            self.mean.weight.mul_(0.1)
            nn.init.zeros_(self.mean.bias)  # type: ignore[arg-type]
            self.index.weight.mul_(0.1)
            nn.init.constant_(self.index.bias, 18 / INDEX_GAIN)  # type: ignore[arg-type]  # sigma = 1

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        x = self.hidden(features)
        return self.mean(x), self.index(x) * INDEX_GAIN


class DualPrior(nn.Module):
    """See the module's drawing. `forward` is for training; `coding()` gives the integer twin that streams use."""

    def __init__(self, latent: int = 128, hyper: int = 64, width: int = 96) -> None:
        super().__init__()
        self.latent, self.hyper, self.width = latent, hyper, width
        self.up_1 = hidden(hyper, 4 * width, 1, in_bits=0, in_max=HYPER_MAX)
        self.up_2 = hidden(width, 4 * width, 3)
        self.context = hidden(latent, width, 3, in_max=LATENT_MAX)
        self.first = Head(width, 2 * width, latent)
        self.second = Head(2 * width, 2 * width, latent)

    @property
    def layers(self) -> list[IntegerConv2d]:
        return [m for m in self.modules() if isinstance(m, IntegerConv2d)]

    def use_integers(self) -> None:
        """Enter the integer phase of training."""
        for layer in self.layers:
            layer.use_integers()

    def features(self, z: Tensor, height: int, width: int) -> Tensor:
        """z (rounded; clamped here) → features (B, width, height, width of y)."""
        x = F.pixel_shuffle(self.up_1(z.clamp(-HYPER_MAX, HYPER_MAX)), 2)
        return F.pixel_shuffle(self.up_2(x), 2)[..., :height, :width]

    def conditioned(self, features: Tensor, y_hat: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, index) of step 2 from the features and y_hat, of which only step 1 (`mask`) is looked at."""
        limit = LATENT_MAX / 2**BITS
        seen = (y_hat * mask).clamp(-limit, limit)
        if self.context.integers:
            seen = ste_round(seen * 2**BITS) / 2**BITS
        return self.second(torch.cat([features, self.context(seen)], 1))

    def coding(self) -> CodingPrior:
        """The frozen integer twin. Raises ValueError where an accumulator could leave 2**24."""
        return CodingPrior(self)

    def accumulator_bounds(self) -> dict[str, int]:
        """Layer name → largest magnitude that its accumulator can reach (must stay below 2**24)."""
        return {name: m.accumulator_bound() for name, m in self.named_modules() if isinstance(m, IntegerConv2d)}


class CodingPrior:
    """Integers in, integers out: all that decides which table codes a symbol. Every tensor is float64, whole numbers.

    Batch 1 or more; the results do not depend on it, nor on threads, layout, device or autocast.
    """

    def __init__(self, prior: DualPrior) -> None:
        self.up_1, self.up_2, self.context = (CodingConv(m) for m in (prior.up_1, prior.up_2, prior.context))
        self.heads = [
            tuple(CodingConv(m) for m in (head.hidden, head.mean, head.index)) for head in (prior.first, prior.second)
        ]

    @torch.no_grad()
    def features(self, z: Tensor, height: int, width: int) -> Tensor:
        """z: integers (B, Nz, ·, ·) → integer features (B, C, height, width)."""
        x = F.pixel_shuffle(self.up_1(z.double().clamp(-HYPER_MAX, HYPER_MAX)), 2)
        return F.pixel_shuffle(self.up_2(x), 2)[..., :height, :width].contiguous()

    @torch.no_grad()
    def features_of(self, z: Tensor, where: Tensor) -> Tensor:
        """The same of N single positions of z, bool (h, w), for z of one picture: (1, C, 4 N, 4), row by row."""
        x = F.pixel_shuffle(self.up_1(z.double().clamp(-HYPER_MAX, HYPER_MAX)), 2)
        windows = F.pad(x, (1, 1, 1, 1))[0].unfold(1, 4, 2).unfold(2, 4, 2)
        return side_by_side(F.pixel_shuffle(self.up_2.within(windows[:, where]).transpose(0, 1), 2).transpose(0, 1))

    def _head(self, which: int, x: Tensor) -> tuple[Tensor, Tensor]:
        first, mean, index = self.heads[which]
        x = first(x)
        return mean(x), index(x)

    @torch.no_grad()
    def step_1(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(mu·16, index·16) for every position; only those of step 1 are meant."""
        return self._head(0, features)

    @torch.no_grad()
    def step_2(self, features: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """The same for step 2. y_hat: integers ·16, zero outside step 1."""
        seen = y_hat.double().clamp(-LATENT_MAX, LATENT_MAX)
        return self._head(1, torch.cat([features, self.context(seen)], 1))

    @torch.no_grad()
    def step_2_of(self, features: Tensor, y_hat: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """The same of single positions of z, whose features `features_of` gave: (1, M, 4 N, 4)."""
        right, bottom = 4 * where.shape[1] - y_hat.shape[3], 4 * where.shape[0] - y_hat.shape[2]
        seen = F.pad(y_hat.double().clamp(-LATENT_MAX, LATENT_MAX), (1, right + 1, 1, bottom + 1))
        windows = seen[0].unfold(1, 6, 4).unfold(2, 6, 4)[:, where]
        return self._head(1, torch.cat([features, side_by_side(self.context.within(windows))], 1))


def side_by_side(windows: Tensor) -> Tensor:
    """(C, N, h, w) → one picture (1, C, N h, w)."""
    return windows.reshape(1, windows.shape[0], -1, windows.shape[3])
