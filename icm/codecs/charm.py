"""A latent in slices of channels, each predicted from hyper features and earlier slices (ChARM, arXiv 2007.08739).

    means,  y_hat of slices < i ─(attention)─┬▶ 3×3 stack ─▶ mu_i             symbols = ⌊y_i − mu_i⌉
                                             ╰▶ with symbols + mu_i ─▶ lrp_i  y_hat_i = symbols + mu_i + tanh(lrp_i)/2
    scales, y_hat of slices < i ─(attention)──▶ 3×3 stack ─▶ sigma_i

LIC-TCM and SegPIC differ in widths, slices and attention. Shapes: y, y_hat, means, scales (B, M, h, w); a slice has M/S
channels. The prior is computed in floats: streams of it are `same-build` (icm/codecs/guard.py says what that means).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from icm.bitstream import Tables
from icm.codecs.guard import Coder, agree
from icm.prior.integer import ste_round

Likelihood = Callable[[Tensor, Tensor, Tensor], Tensor]


class Charm(nn.Module):
    """M channels in `slices`, each seeing the first `support` slices before it.

    widths: hidden channels of the 3×3 stacks. attention: channels → module of that many, before means' and scales'
    stacks; None: none. The names of the parameters are those of both papers' published weights.

    forward(y, means, scales, likelihood) → (y_hat, likelihoods), for training and estimates; likelihood(y, sigma, mu):
    that of CompressAI's GaussianConditional.
    walk(coder, tables, means, scales, guard, y=None) → y_hat, for streams: the encoder gives y. ValueError (encoder): y
    is not finite; Desynchronised (decoder): other indices than the encoder's.
    """

    def __init__(
        self,
        latent: int,
        slices: int,
        support: int,
        widths: Sequence[int],
        attention: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if latent % slices:
            raise ValueError(f"a latent of {latent} channels cannot be cut in {slices} equal slices")
        self.latent, self.slices, self.support, self.step = latent, slices, support, latent // slices
        seen = [latent + self.step * min(i, support) for i in range(slices)]
        build = attention or (lambda channels: nn.Identity())
        self.atten_mean = nn.ModuleList(build(channels) for channels in seen)
        self.atten_scale = nn.ModuleList(build(channels) for channels in seen)
        self.cc_mean_transforms = nn.ModuleList(stack(channels, widths, self.step) for channels in seen)
        self.cc_scale_transforms = nn.ModuleList(stack(channels, widths, self.step) for channels in seen)
        self.lrp_transforms = nn.ModuleList(stack(channels + self.step, widths, self.step) for channels in seen)

    def predict(self, i: int, means: Tensor, scales: Tensor, done: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(mu, sigma, what the refinement sees) of slice i, given y_hat of the slices before it."""
        known = list(done[: self.support])
        seen = self.atten_mean[i](torch.cat([means, *known], 1))
        sigma = self.cc_scale_transforms[i](self.atten_scale[i](torch.cat([scales, *known], 1)))
        return self.cc_mean_transforms[i](seen), sigma, seen

    def refine(self, i: int, seen: Tensor, y_hat: Tensor) -> Tensor:
        """y_hat of slice i with half of the rounding error predicted away (latent residual prediction)."""
        return y_hat + 0.5 * torch.tanh(self.lrp_transforms[i](torch.cat([seen, y_hat], 1)))

    def forward(self, y: Tensor, means: Tensor, scales: Tensor, likelihood: Likelihood) -> tuple[Tensor, Tensor]:
        done: list[Tensor] = []
        likelihoods = []
        for i, part in enumerate(y.chunk(self.slices, 1)):
            mu, sigma, seen = self.predict(i, means, scales, done)
            likelihoods.append(likelihood(part, sigma, mu))
            done.append(self.refine(i, seen, ste_round(part - mu) + mu))
        return torch.cat(done, 1), torch.cat(likelihoods, 1)

    def walk(
        self, coder: Coder, tables: Tables, means: Tensor, scales: Tensor, guard: int, y: Tensor | None = None
    ) -> Tensor:
        """One picture (B = 1), no gradients; see the class."""
        done: list[Tensor] = []
        for i in range(self.slices):
            mu, sigma, seen = self.predict(i, means, scales, done)
            index = agree(coder, sigma, guard, y is not None)
            given = () if y is None else (whole(y[:, i * self.step : (i + 1) * self.step] - mu),)
            symbols = torch.from_numpy(coder.code(tables, index, *given)).to(mu)
            done.append(self.refine(i, seen, symbols + mu))
        return torch.cat(done, 1)


def stack(channels: int, widths: Sequence[int], out: int) -> nn.Sequential:
    """3×3 convolutions with GELU between them; numbered 0, 2, 4 … as published."""
    sizes = [channels, *widths, out]
    return nn.Sequential(*_between([nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(sizes)]))


def _between(layers: Sequence[nn.Module]) -> Iterator[nn.Module]:
    for i, layer in enumerate(layers):
        if i:
            yield nn.GELU()
        yield layer


def whole(values: Tensor) -> np.ndarray:
    """Nearest integers as the coder takes them. ValueError where a value is not finite."""
    array = torch.floor(values.double() + 0.5).cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("the analysis gave a value that is not finite; the weights do not suit this picture")
    return array
