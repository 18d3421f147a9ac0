"""Fewer bits for a fitted network, its frames kept: rounding that looks at what each weight does to the picture.

    per layer: H ~ E[x xᵀ] of its inputs, S ~ E[g gᵀ] of the picture's gradient at its outputs
               noise of the picture by an error E of the weights: tr(S E H Eᵀ)
               weights rounded one after the other, each one's error made good by those that follow

Rounding a weight matters as much as its input is strong and its output is seen. Neighbouring inputs of a convolution
are alike, and so are what its outputs do to the picture: much of an error can be made good by weights not yet rounded,
along columns by H and along rows by S. What remains of a unit of error is 1/U² of the triangular factors of the
inverses; with entropy-coded symbols the best steps make all remainders equal (reverse water-filling). Columns alone:
optimal brain surgeon (Hassibi, Stork 1993), for layers Frantar et al. 2022, arXiv 2210.17323; S as in K-FAC (Martens,
Grosse 2015, arXiv 1503.05671).

B: frames, R: output channels, n = C·k·k: inputs of one output, P: places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerv.coding.tensors import Stepped, step_of
from nerv.models.decoder import Decoder

PLACES = 8192  # of a frame, at most, for the statistics of a layer


def layers(decoder: Decoder) -> dict[str, nn.Conv2d]:
    """Convolutions in the order of computing, by the names of their tensors."""
    return {name: module for name, module in decoder.named_modules() if isinstance(module, nn.Conv2d)}


def moments(
    decoder: Decoder, embeddings: Tensor, details: Mapping[int, Tensor] = MappingProxyType({}), seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """layer → (S (R, R), H (n, n)) float64 over some places of every frame of `embeddings` (B, C, h, w), `details`.

    tr(S E H Eᵀ) is the mean square that errors E of the weights add to the picture: S by random probes of the Jacobian,
    one a frame; H the mean of x xᵀ, where a place counts as much as the picture depends on it. Few places give an S
    nearer to its diagonal.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def take(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            output.retain_grad()
            inputs[name], outputs[name] = given[0].detach(), output

        return take

    convolutions = layers(decoder)
    hooks = [module.register_forward_hook(keep(name)) for name, module in convolutions.items()]
    found = {name: _Moments(module) for name, module in convolutions.items()}
    decoder.requires_grad_(True)
    try:
        for i in range(len(embeddings)):
            picture = decoder(embeddings[i : i + 1], {block: values[i : i + 1] for block, values in details.items()})
            decoder.zero_grad(set_to_none=True)
            (picture * torch.randn(picture.shape, generator=generator)).sum().backward()
            for name, output in outputs.items():
                assert output.grad is not None
                found[name].add(inputs[name], output.grad, picture[0].numel() * len(embeddings), generator)
    finally:
        for handle in hooks:
            handle.remove()
        decoder.zero_grad(set_to_none=True)
        decoder.requires_grad_(False)
    return {name: moment.finish() for name, moment in found.items()}


class _Moments:
    """Sums of one layer."""

    def __init__(self, module: nn.Conv2d) -> None:
        self.kernel, self.rows = module.kernel_size[0], module.out_channels
        columns = module.in_channels * self.kernel**2
        self.seen, self.gram = (torch.zeros(side, side, dtype=torch.float64) for side in (self.rows, columns))
        self.places, self.weight = 0, 0.0

    def add(self, x: Tensor, gradient: Tensor, samples: int, generator: torch.Generator) -> None:
        """x (1, C, h, w), gradient (1, R, h, w) of one frame."""
        height, width = x.shape[2:]
        places = torch.randperm(height * width, generator=generator)[:PLACES]
        g = gradient[0].flatten(1)[:, places]
        padded, top, left = F.pad(x[0], [self.kernel // 2] * 4), places // width, places % width
        patches = torch.stack([padded[:, top + i, left + j] for i in range(self.kernel) for j in range(self.kernel)], 1)
        patches = patches.flatten(0, 1)
        strength = g.square().sum(0)
        self.seen += (g @ g.T).double() * (height * width / len(places) / samples)
        self.gram += ((patches * strength) @ patches.T).double()
        self.weight += float(strength.sum())
        self.places += len(places)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """(S, H)."""
        diagonal = torch.diag(self.seen).clamp_min(1e-9 * float(torch.diag(self.seen).max()))
        share = self.rows / (self.places + self.rows)
        seen = (1 - share) * self.seen + share * torch.diag(diagonal)
        return seen.numpy(), (self.gram / max(self.weight, 1e-300)).numpy()


def round_layer(weight: np.ndarray, gram: np.ndarray, seen: np.ndarray, noise: float) -> Stepped:
    """weight (R, C, k, k) → steps and symbols such that each weight adds about `noise` (mean square of the picture).

    gram H (n, n), seen S (R, R). A weight whose remainder is small gets a large step, up to where it carries nothing;
    a prior on the weights (their own variance) keeps the others from making good more than is worth it, in columns and
    in rows: where an activation is off, S calls its row free, and holds only near the weights as they are.
    """
    matrix = weight.reshape(len(weight), -1).astype(np.float64)
    own = max(float(np.mean(np.square(matrix))), 1e-300)
    least, strength = 1e-6 * np.trace(seen) / len(seen), max(np.trace(gram) / len(gram), 1e-30)
    _, remains = _feedback(gram + 1e-6 * strength * np.eye(len(gram)))
    prior = max(least, noise / (own * math.exp(float(np.mean(np.log(remains))))))
    down, remains = _feedback(seen + prior * np.eye(len(seen)))
    rows = np.rint(-4 * np.log2(remains)).astype(np.int64)  # steps ∝ remains^(−1/2), in eighths of an octave
    variance = max(float(np.mean(np.square(matrix / step_of(rows)[:, None]))), 1e-300)
    across, remains = _feedback(gram + noise / variance * np.eye(len(gram)))
    columns = np.rint(4 * np.log2(12 * noise / remains)).astype(np.int64)
    row_steps, column_steps = step_of(rows), step_of(columns)
    q = np.zeros(matrix.shape, np.int64)
    for c, column_step in enumerate(column_steps.tolist()):
        wanted, steps = matrix[:, c].copy(), row_steps * column_step
        for r in range(len(wanted)):
            q[r, c] = symbol = round(wanted[r] / steps[r])
            wanted[r + 1 :] += (wanted[r] - symbol * steps[r]) * down[r, r + 1 :]
        matrix[:, c + 1 :] += (matrix[:, c] - q[:, c] * steps)[:, None] * across[c, c + 1 :]
    return Stepped(q.reshape(weight.shape).astype(np.int32), rows.astype(np.int32), columns.astype(np.int32))


def _feedback(moment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(feedback (n, n), remains (n,)): what an error of entry c adds to each later entry, and what of it then remains.

    With M^-1 = Uᵀ U, U upper triangular: fixing entry c at an error e, the free entries f > c answer −e U_cf / U_cc,
    and e² / U_cc² remains.
    """
    inverse = np.linalg.inv(moment)
    upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
    diagonal = np.diag(upper)
    return -upper / diagonal[:, None], 1.0 / diagonal**2
