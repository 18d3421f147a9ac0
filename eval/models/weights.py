"""Weights of task models: safetensors, half precision on disk, with a model card (JSON) beside the shipped ones."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parent.parent / "weights"


def read(path: str | os.PathLike) -> dict[str, Any]:
    """name -> float32 tensor. ValueError, one line, when the file is not there or is no safetensors."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such weights; name a .safetensors file") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not readable as safetensors ({' '.join(str(error).split())})") from None
    return {name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()}


def write(path: str | os.PathLike, tensors: dict[str, Any]) -> None:
    """Half precision for floats; the file appears whole or not at all."""
    import torch
    from safetensors.torch import save  # not `save_file`, which has temporary names of its own

    path = Path(path)
    half = {name: t.detach().cpu().to(torch.float16 if t.is_floating_point() else t.dtype).contiguous()
            for name, t in tensors.items()}
    data = save(half)
    temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:  # those of writing name no file
        raise OSError(f"{path}: not written ({len(data)} bytes): {(error.strerror or str(error)).lower()}; make room "
                      "or choose another place") from error  # fmt: skip
    finally:
        temporary.unlink(missing_ok=True)


def card(name: str) -> dict[str, Any]:
    """The model card of shipped weights."""
    return json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))


def fit(model: Any, tensors: dict[str, Any], path: str | os.PathLike) -> None:
    """Loads tensors into a model; ValueError, one line, when they are another model's."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        lines = str(error).splitlines()
        reason = lines[1].strip()[:120] if len(lines) > 1 else lines[0]
        raise ValueError(f"{path}: these weights are not this model's ({reason})") from None
