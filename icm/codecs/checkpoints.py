"""Other people's checkpoints: pickles, read by torch's restricted loader, which knows tensors and plain containers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

OLD_DENSITY = {"_matrix": "matrices.", "_bias": "biases.", "_factor": "factors."}  # names of CompressAI before 1.2.5
TABLES = ("._offset", "._quantized_cdf", "._cdf_length")


def restricted(path: str | os.PathLike[str]) -> Any:
    """torch's restricted loader, without its advice (of protocols, of unsafe loading), which is not for our users."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: those under "state_dict" where it has one, without DataParallel's "module.",
    densities by their present names, without the tables that CompressAI computes. ValueError, one line, for all else.
    """
    try:
        found = restricted(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint") from None
    except Exception as error:  # zip and pickle raise whatever they meet
        raise ValueError(f"{path}: is no checkpoint of tensors ({' '.join(str(error).split())[:100]})") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not found or not all(isinstance(t, Tensor) for t in found.values()):
        raise ValueError(f"{path}: is no checkpoint of a network: it holds something else than named tensors")
    return named(found)


def named(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `state_dict` says, of tensors that are already at hand."""
    plain = {str(name).removeprefix("module."): tensor for name, tensor in found.items()}
    return {_present(name): tensor for name, tensor in plain.items() if not name.endswith(TABLES)}


def _present(name: str) -> str:
    parent, _, last = name.rpartition(".")
    for old, new in OLD_DENSITY.items():
        if last.startswith(old) and last.removeprefix(old).isdecimal():
            return f"{parent}.{new}{last.removeprefix(old)}"
    return name


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Any, constants: Iterable[str]) -> None:
    """Copy tensors into a network's parameters, every one of both. constants: ends of the names of buffers that hold no
    weights; they stay as they are. ValueError names what is missing, left over, or of another shape."""
    weights = dict(network.named_parameters())
    given = {name: tensor for name, tensor in tensors.items() if not name.endswith(tuple(constants))}
    if missing := sorted(set(weights) - set(given)):
        raise ValueError(f"{path}: is no checkpoint of this architecture: it lacks {', '.join(missing[:3])}")
    if extra := sorted(set(given) - set(weights)):
        raise ValueError(f"{path}: is no checkpoint of this architecture: beside its weights it has {extra[0]}")
    for name, tensor in given.items():
        if tensor.shape != weights[name].shape:
            raise ValueError(f"{path}: {name} is {tuple(tensor.shape)}, not {tuple(weights[name].shape)}")
        weights[name].data.copy_(tensor)
