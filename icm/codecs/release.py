"""A released set of weights: what a stream's hash names, in one safetensors file.

    transforms   float16                         (pixels may differ in the last bit between machines, symbols never)
    prior        int16 (int32 where they need it) weights, int32 biases, and the fractional bits of each layer
    tables       integer frequencies for z and for the 64 scales; gains and offsets for every quality
    training     the few float tensors that further training needs (densities of z, log-gains)

Published networks, whose prior stays in floats, have every tensor as float32 beside their integer tables (`of_floats`).

The hash is the SHA-256 of every tensor's name, type, shape and bytes, and of the settings; streams carry 8 bytes of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icm.bitstream import Tables
from icm.bitstream.build_tables import from_pmfs, gaussian
from icm.codecs.networks import architecture, load
from icm.prior.integer import IntegerConv2d
from icm.quality import scale_table

TABLES = ("hyper", "scales")


class Release:
    """tensors: name → tensor as stored; settings: of the network. Immutable by convention."""

    def __init__(self, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], arch: str) -> None:
        self.tensors, self.settings, self.arch = dict(tensors), dict(settings), arch
        self.hash = self._hash()

    @property
    def short_hash(self) -> bytes:
        """The 8 bytes that a stream carries."""
        return self.hash[:8]

    def _hash(self) -> bytes:
        digest = hashlib.sha256(json.dumps([self.arch, self.settings], sort_keys=True).encode())
        for name in sorted(self.tensors):
            tensor = self.tensors[name]
            digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
            plain = tensor.contiguous().reshape(-1).view(torch.uint8)  # its bytes, also of types that numpy lacks
            digest.update(plain.numpy().tobytes())
        return digest.digest()

    @classmethod
    def from_model(cls, model: Any, arch: str = "sa-icm-s") -> Release:
        """Freeze a trained network. Raises ValueError where its prior has not been trained in integers."""
        tensors: dict[str, Tensor] = {}
        layers = {f"prior.{name}": m for name, m in model.prior.named_modules() if isinstance(m, IntegerConv2d)}
        for name, layer in layers.items():
            layer.tighten()
            weight, bias, _ = layer.integer_parameters()
            small = weight.abs().max() < 2**15
            tensors |= {
                f"{name}.weight": weight.short() if small else weight.int(),
                f"{name}.bias": bias.int(),
                f"{name}.weight_bits": layer.weight_bits,
            }
        for name, value in model.state_dict().items():
            if name.startswith(("g_a.", "g_s.", "h_a.")):
                tensors[name] = value.half()
            elif name.startswith(("gains.", "entropy_bottleneck.")) and not name.endswith(
                ("_offset", "_quantized_cdf", "_cdf_length")
            ):
                tensors[name] = value.float()
        inverse, offset = model.gains.tables()
        tensors |= {"quality.inverse": inverse, "quality.offset": offset}
        for name, tables in zip(TABLES, (hyper_tables(model.entropy_bottleneck), scale_tables()), strict=True):
            tensors |= {f"tables.{name}.{key}": torch.from_numpy(np.array(a)) for key, a in tables.to_arrays().items()}
        return cls({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, model.settings, arch)

    @classmethod
    def of_floats(cls, network: Any, arch: str, tables: Mapping[str, Tables], quality: float = 0.0) -> Release:
        """Freeze a network whose prior stays in floats: every tensor as float32, and its integer tables by name.

        quality: the number that names this rate point in tables and plots, where weights have one rate each.
        """
        tensors = {
            name: value.float() for name, value in network.state_dict().items()
            if not name.startswith("gaussian_conditional.") and "._" not in name
            and not name.endswith(("_offset", "_quantized_cdf", "_cdf_length"))
        }  # fmt: skip
        tensors["quality"] = torch.tensor(float(quality))
        for name, table in tables.items():
            tensors |= {f"tables.{name}.{key}": torch.from_numpy(np.array(a)) for key, a in table.to_arrays().items()}
        return cls({n: t.detach().cpu().contiguous().clone() for n, t in tensors.items()}, network.settings, arch)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write safetensors, the same bytes for the same release; the caller makes it atomic where that matters."""
        from safetensors.torch import save

        about = {"arch": self.arch, "settings": json.dumps(self.settings), "sha256": self.hash.hex()}
        data = save(self.tensors, metadata=about)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"] = about  # the library writes these in an order that changes from call to call
        ordered = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(ordered) != length:
            raise ValueError(f"{path}: not written: the header of the weights changed its length")
        Path(path).write_bytes(data[:8] + ordered + data[8 + length :])

    @classmethod
    def load(cls, weights: str | os.PathLike[str]) -> Release:
        """From a name (`vcm models` lists them) or a path. ValueError: missing, damaged, or of another kind."""
        from safetensors import SafetensorError, safe_open

        path = find(weights)
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                settings, arch = json.loads(metadata["settings"]), metadata["arch"]
        except (SafetensorError, KeyError, json.JSONDecodeError, RecursionError, OSError) as error:
            raise ValueError(f"{path}: no weights of an image codec ({' '.join(str(error).split())})") from None
        release = cls(tensors, settings, arch)
        if metadata.get("sha256") != release.hash.hex():
            raise ValueError(f"{path}: damaged: its tensors do not match the hash written with them; fetch it again")
        return release

    @contextlib.contextmanager
    def _fitting(self) -> Iterator[None]:
        """A hash says that a file is whole, not that it makes sense: settings and tensors may be anything, and networks
        raise whatever they meet in them. ValueError for all of it, in one line."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
            line = " ".join(str(error).split())[:200]
            raise ValueError(
                f"weights of {self.arch[:40]!r} fit no such network: make new ones ({type(error).__name__}: {line})"
            ) from None

    def model(self, **settings: Any) -> Any:
        """The network with these weights, in evaluation mode and in its integer phase (training goes on in it)."""
        if settings and {**self.settings, **settings} != self.settings:
            raise ValueError(f"weights of {self.settings} cannot serve a network of {settings}")
        with self._fitting():
            return self._fill(load(architecture(self.arch).network)(**self.settings))

    def transforms(self) -> Any:
        """What coding needs of the network, in evaluation mode."""
        with self._fitting():
            return self._fill(load(architecture(self.arch).transforms)(**self.settings))

    def _fill(self, network: Any) -> Any:
        wanted = {
            name for name in network.state_dict() if not name.startswith("gaussian_conditional.") and "._" not in name
        }
        state = {name: self.tensors[name].float() for name in wanted & set(self.tensors)}
        for name in [n for n in state if n.endswith(".weight_bits")]:
            prefix, bits = name.removesuffix("weight_bits"), int(state[name])
            layer = network.get_submodule(prefix.rstrip("."))
            state[name] = self.tensors[name]
            state[prefix + "weight"] = (state[prefix + "weight"].double() * 2.0**-bits).float()
            state[prefix + "bias"] = (state[prefix + "bias"].double() * 2.0 ** -(bits + layer.in_bits)).float()
        if missing := sorted(wanted - set(state)):
            raise ValueError(f"weights do not fit the network: no {', '.join(missing[:3])}")
        try:
            # Not CompressAI's own method, which wants the tables of its coder; ours are in the release.
            nn.Module.load_state_dict(network, state, strict=False)
        except RuntimeError as error:
            raise ValueError(f"weights do not fit the network: {str(error).splitlines()[-1].strip()}") from None
        return network.eval()

    def tables(self, name: str) -> Tables:
        """ "hyper" (one table a channel of z), "scales" (one a standard deviation), or what else the codec has."""
        keys = ("frequencies", "sizes", "offsets")
        return Tables.from_arrays({key: self.tensors[f"tables.{name}.{key}"].numpy() for key in keys})

    def picture_coder(self) -> Any:
        """What codes pictures with these weights."""
        with self._fitting():
            return load(architecture(self.arch).coder)(self)


def find(weights: str | os.PathLike[str]) -> Path:
    """A name of the shipped weights, or a path → an existing path."""
    folder = Path(__file__).parent.parent / "weights"
    shipped = sorted(p.stem for p in folder.glob("*.safetensors"))
    if str(weights) in shipped:
        return folder / f"{weights}.safetensors"
    path = Path(weights)
    if not path.is_file():
        raise ValueError(f"{weights}: neither a file nor the name of shipped weights ({', '.join(shipped) or 'none'})")
    return path


def shipped_with(short_hash: bytes) -> Path | None:
    """The shipped weights, of whatever name and age, whose hash begins so: a stream names its weights by hash."""
    from safetensors import SafetensorError, safe_open

    for path in sorted((Path(__file__).parent.parent / "weights").rglob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                if (file.metadata() or {}).get("sha256", "").startswith(short_hash.hex()):
                    return path
        except (SafetensorError, OSError):
            continue
    return None


def scale_tables() -> Tables:
    """A table a standard deviation. The narrowest is never coded: its symbol is zero, whatever the latent."""
    return gaussian([0.0, *scale_table()[1:].tolist()])


def hyper_tables(bottleneck: Any) -> Tables:
    """The factorised density of CompressAI's EntropyBottleneck, a table a channel; symbols are relative to the medians.

    Integrated here rather than by its `update()`, so that a table is as long as its tails are worth, not as long as the
    auxiliary loss has brought the quantiles to by now.
    """
    reach = 64
    medians = bottleneck.quantiles[:, :, 1:2].detach()
    with torch.no_grad():
        likelihood, _, _ = bottleneck._likelihood(medians + torch.arange(-reach, reach + 1.0, device=medians.device))
    pmfs = likelihood[:, 0].double().cpu().numpy()
    return from_pmfs([pmf / max(pmf.sum(), 1.0) for pmf in pmfs], [-reach] * len(pmfs))
