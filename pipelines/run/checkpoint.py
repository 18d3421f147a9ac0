"""Checkpoints: tensors in safetensors, numbers in its JSON header; written aside, synced, read back, renamed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pipelines.run.atomic import replacing


def save(path: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write both, then read the file back before it takes the name. OSError in one line when it cannot be written."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save as packed

    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    data = packed(tensors, metadata={"numbers": json.dumps(numbers)})  # its `save_file` has temporary names of its own
    with replacing(path, len(data)) as temporary:
        temporary.write_bytes(data)
        try:
            with safe_open(temporary, "pt") as file:
                whole = set(file.keys()) == set(tensors)
        except SafetensorError:
            whole = False
        if not whole:
            raise OSError(f"{path}: did not read back as written; check the disk")


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, numbers). ValueError, one line, when the file is damaged or is not a checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            numbers = json.loads((file.metadata() or {})["numbers"])
            return {name: file.get_tensor(name) for name in file.keys()}, numbers
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint; start without --resume") from None
    except (SafetensorError, KeyError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path}: not a checkpoint of ours ({' '.join(str(error).split())}); remove it to start anew"
        ) from None


def optimizer_tensors(name: str, optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser, flat: optimizer.NAME.PARAMETER.KEY. Learning rates come from the schedule."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{name}.{i}.{key}": torch.as_tensor(value)
        for i, entry in state.items()
        for key, value in entry.items()
    }


def restore_optimizer(name: str, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`, into an optimiser over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    prefix = f"optimizer.{name}."
    for key, value in tensors.items():
        if key.startswith(prefix):
            index, entry = key[len(prefix) :].split(".", 1)
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(prefix + ".")}
