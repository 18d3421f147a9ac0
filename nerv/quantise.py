"""Fewer bits for a fitted network, its frames kept: rounding that looks at what each weight does to the picture.

    per layer: H = E[x xᵀ] of its inputs, S = E[g gᵀ] of the picture's gradient at its outputs
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

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nerv.coding.tensors import Stepped, step_of
from nerv.models.decoder import Decoder

PLACES = 4096  # of a frame, at most, for the statistics of a layer


def layers(decoder: Decoder) -> dict[str, nn.Conv2d]:
    """Convolutions in the order of computing, by the names of their tensors."""
    return {name: module for name, module in decoder.named_modules() if isinstance(module, nn.Conv2d)}


def grams(decoder: Decoder, embeddings: Tensor, chosen: list[str], seed: int = 0) -> dict[str, Tensor]:
    """layer → E[x xᵀ] (n, n) float64 over some places of every frame of `embeddings` (B, C, h, w)."""
    found: dict[str, Tensor] = {}
    generator = torch.Generator().manual_seed(seed)

    def hook(name: str) -> Callable[..., None]:
        def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, nn.Conv2d)
            kernel = module.kernel_size[0]
            x = F.pad(inputs[0], [kernel // 2] * 4)
            height, width = inputs[0].shape[2:]
            places = torch.randperm(height * width, generator=generator)[:PLACES]
            rows, columns = places // width, places % width
            patches = torch.stack(
                [x[:, :, rows + i, columns + j] for i in range(kernel) for j in range(kernel)], 2
            )  # (B, C, k·k, P)
            patches = patches.flatten(1, 2).transpose(0, 1).flatten(1)
            gram = (patches @ patches.T).double() / patches.shape[1]
            found[name] = found.get(name, torch.zeros_like(gram)) + gram / len(embeddings)

        return take

    hooks = [module.register_forward_pre_hook(hook(name)) for name, module in layers(decoder).items() if name in chosen]
    try:
        with torch.inference_mode():
            for i in range(len(embeddings)):
                decoder(embeddings[i : i + 1])
    finally:
        for handle in hooks:
            handle.remove()
    return found


def sensitivities(decoder: Decoder, embeddings: Tensor, seed: int = 0) -> dict[str, np.ndarray]:
    """layer → S (R, R) float64: tr(S C) is the mean square that errors of covariance C at each place of the layer's
    output add to the picture. By random probes of the Jacobian, one a frame; few places give a matrix nearer to its
    diagonal."""
    generator = torch.Generator().manual_seed(seed)
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def take(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            output.retain_grad()
            outputs[name] = output

        return take

    hooks = [module.register_forward_hook(keep(name)) for name, module in layers(decoder).items()]
    total: dict[str, Tensor] = {}
    samples: dict[str, int] = {}
    decoder.requires_grad_(True)
    try:
        for i in range(len(embeddings)):
            picture = decoder(embeddings[i : i + 1])
            decoder.zero_grad(set_to_none=True)
            (picture * torch.randn(picture.shape, generator=generator)).sum().backward()
            for name, output in outputs.items():
                assert output.grad is not None
                g = output.grad[0].flatten(1)
                places = torch.randperm(g.shape[1], generator=generator)[: 8 * PLACES]
                scale = g.shape[1] / len(places) / picture[0].numel() / len(embeddings)
                g = g[:, places]
                total[name] = total.get(name, torch.zeros(len(g), len(g)).double()) + (g @ g.T).double() * scale
                samples[name] = samples.get(name, 0) + len(places)
    finally:
        for handle in hooks:
            handle.remove()
        decoder.zero_grad(set_to_none=True)
        decoder.requires_grad_(False)
    found = {}
    for name, matrix in total.items():
        diagonal = torch.diag(torch.diag(matrix).clamp_min(1e-9 * float(torch.diag(matrix).max())))
        share = len(matrix) / (samples[name] + len(matrix))
        found[name] = ((1 - share) * matrix + share * diagonal).numpy()
    return found


def round_layer(weight: np.ndarray, gram: np.ndarray, seen: np.ndarray, noise: float) -> Stepped:
    """weight (R, C, k, k) → steps and symbols such that each weight adds about `noise` (mean square of the picture).

    gram H (n, n), seen S (R, R). A weight whose remainder is small gets a large step, up to where it carries nothing;
    a prior on the weights (their own variance) keeps the others from making good more than is worth it.
    """
    matrix = weight.reshape(len(weight), -1).astype(np.float64)
    down, remains = _feedback(seen + 1e-6 * np.trace(seen) / len(seen) * np.eye(len(seen)))
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
