"""CompressAI's zoo as picture codecs: `compressai:mbt2018-mean:4`, so that the field's curves stand beside ours.

    picture -> pad to 64 -> model.compress -> header (counted) + strings -> model.decompress -> crop

Header, 14 bytes for a 640x480 picture with two strings: model and quality (a byte each), width, height and the length
of each string (LEB128), CRC-32 of all of it and of the weights' hash. The rest are the strings, byte for byte. The CRC
is looked at before anything is decoded: CompressAI's rANS decoder has no end of input and crashes on damaged strings,
or gives other pictures without a word. It is no protection from files made to do harm: decode your own streams only.

These are float models: streams are promised to decode in the same build only (torch, processor, threads), as
CompressAI's own are. Weights are CompressAI's trained ones, fetched once (a state dict, its SHA-256 checked), or a file
that is given.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PREFIX = "compressai:"
ALIGN = 64  # the deepest model halves the sides six times
# name -> (highest quality, strings a picture); the order is in the streams: add at the end
MODELS = {
    "bmshj2018-factorized": (8, 1), "bmshj2018-hyperprior": (8, 2), "mbt2018-mean": (8, 2), "mbt2018": (8, 2),
    "cheng2020-anchor": (6, 2), "cheng2020-attn": (6, 2),
    "bmshj2018-hyperprior-vbr": (8, 2), "mbt2018-mean-vbr": (8, 2), "mbt2018-vbr": (8, 2),
    "bmshj2018-factorized-relu": (8, 1),
}  # fmt: skip
MS_SSIM = "-ms-ssim"  # appended: the weights trained for MS-SSIM; such streams have 128 added to the model's number
WITH_MS_SSIM = ("bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean", "mbt2018", "cheng2020-anchor",
                "cheng2020-attn")  # fmt: skip
NAMES = (*MODELS, *(name + MS_SSIM for name in WITH_MS_SSIM))
RANDOM = "random"


@dataclass(frozen=True)
class Zoo:
    """A CompressAI model at a quality. `weights`: a file ("{quality}" in its name is replaced), "random", or None."""

    name: str
    quality: int
    weights: str | None = None
    suffix: str = ".cai"

    def __post_init__(self) -> None:
        low, high = self.qualities
        if not low <= self.quality <= high:
            raise ValueError(f"{self.name}:{self.quality}: the quality is a whole number from {low} to {high}")
        if self.file is not None and not self.file.is_file():
            raise FileNotFoundError(f"{self.file}: no such file of weights for {self.name}:{self.quality}")

    @property
    def model(self) -> str:
        """CompressAI's name of the architecture."""
        return self.name.removeprefix(PREFIX).removesuffix(MS_SSIM)

    @property
    def qualities(self) -> tuple[int, int]:
        return 1, MODELS[self.model][0]

    @property
    def file(self) -> Path | None:
        """The weights that were given, for this quality."""
        if self.weights in (None, RANDOM):
            return None
        return Path(str(self.weights).replace("{quality}", str(self.quality)))

    @property
    def threads(self) -> int:
        """What torch uses: these models follow its setting."""
        import torch

        return torch.get_num_threads()

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights and tables in use; loads them."""
        return self._loaded()[1]

    def encode(self, picture: np.ndarray) -> bytes:
        """Header and strings of a (H, W, 3) uint8 RGB picture; sides are padded with edge pixels to multiples of 64."""
        import torch

        height, width = picture.shape[:2]
        padded = np.pad(picture, ((0, -height % ALIGN), (0, -width % ALIGN), (0, 0)), mode="edge")
        network, sha256 = self._loaded()
        x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255.0
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            coded = network.compress(x, **self._stage())
        strings = [part[0] for part in coded["strings"]]
        head = self._head(width, height, [len(string) for string in strings])
        body = b"".join(strings)
        return head + _check(head + body, sha256) + body

    def decode(self, data: bytes) -> np.ndarray:
        """The (H, W, 3) uint8 RGB picture. ValueError where bytes are damaged, or of other weights than these."""
        import torch

        coder, width, height, strings, head, check = self._parse(data)
        network, sha256 = coder._loaded()
        if check != _check(head + b"".join(strings), sha256):
            raise ValueError(f"damaged {self.name} stream, or made with other weights than these: its checksum differs")
        step = 16 if len(strings) == 1 else ALIGN
        shape = [-(-length // ALIGN) * ALIGN // step for length in (height, width)]
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            x_hat = network.decompress([[string] for string in strings], shape, **coder._stage())["x_hat"]
        picture = (x_hat[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return np.ascontiguousarray(picture[:height, :width])

    def _head(self, width: int, height: int, lengths: list[int]) -> bytes:
        kind = list(MODELS).index(self.model) + (128 if self.name.endswith(MS_SSIM) else 0)
        return bytes([kind, self.quality]) + b"".join(_leb128(value) for value in (width, height, *lengths))

    def _parse(self, data: bytes) -> tuple[Zoo, int, int, list[bytes], bytes, bytes]:
        """The coder of the stream's quality, its size, strings, head and checksum; sizes are looked at first."""
        damaged = f"damaged {self.name} stream"
        if len(data) < 2 or data[0] % 128 >= len(MODELS):
            raise ValueError(f"{damaged}: it has no header")
        name = PREFIX + list(MODELS)[data[0] % 128] + (MS_SSIM if data[0] >= 128 else "")
        if name != self.name:
            raise ValueError(f"not a {self.name} stream: its header says {name}")
        coder = Zoo(self.name, data[1], self.weights)
        at, values = 2, []
        for _ in range(2 + MODELS[self.model][1]):
            value, at = _read_leb128(data, at, damaged)
            values.append(value)
        width, height, *lengths = values
        if not 0 < width * height <= 2**28 or len(data) != at + 4 + sum(lengths):
            raise ValueError(f"{damaged}: {len(data)} bytes where its header says {at + 4 + sum(lengths)}, "
                             f"{width}x{height} pixels")  # fmt: skip
        start, strings = at + 4, []
        for length in lengths:
            strings.append(data[start : start + length])
            start += length
        return coder, width, height, strings, data[:at], data[at : at + 4]

    def _stage(self) -> dict[str, int]:
        return {"s": self.quality - 1} if self.model.endswith("-vbr") else {}  # the variable-rate models' gain

    def _loaded(self) -> tuple[Any, str]:
        return _load(self.name, self.quality, self.weights if self.file is None else str(self.file))


def builder(name: str) -> Any:
    """The builder (quality=None, weights=None) -> codec of `compressai:NAME`, quality 3 unless told."""
    return functools.partial(build, PREFIX + name)


def build(name: str, quality: float | None = None, weights: str | Path | None = None) -> Zoo:
    """`name` at a whole `quality`; ValueError or OSError, one line, where it is impossible."""
    if quality is not None and quality != int(quality):
        raise ValueError(f"{name}:{quality}: the quality is a whole number")
    return Zoo(name, 3 if quality is None else int(quality), None if weights is None else str(weights))


@functools.lru_cache(maxsize=2)  # a codec being measured and the one before it
def _load(name: str, quality: int, weights: str | None) -> tuple[Any, str]:
    """(model in evaluation mode with its tables, SHA-256 of its state)."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(quality)
        network = _network(name, quality, weights)
    network.eval()
    network.update()  # tables, where the weights came without
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return network, digest.hexdigest()


def _network(name: str, quality: int, weights: str | None) -> Any:
    try:
        from compressai.zoo import image, image_vbr
        from compressai.zoo.pretrained import load_pretrained
    except ImportError as error:
        raise ImportError(f"{name} needs CompressAI ({error}); pip install compressai==1.2.8") from None
    model, metric = name.removeprefix(PREFIX).removesuffix(MS_SSIM), "ms-ssim" if name.endswith(MS_SSIM) else "mse"
    variable = model.endswith("-vbr")
    zoo = image_vbr if variable else image
    # the zoo has one name with underscores, and no trained weights for it
    architecture = zoo.model_architectures.get(model) or zoo.model_architectures[model.replace("-", "_")]
    if weights == RANDOM:
        return architecture(*(zoo.cfgs[model] if variable else zoo.cfgs[model][quality]))
    if weights is None:
        urls = zoo.model_urls.get(model, {}).get(metric)
        if urls is None:
            raise ValueError(f"{name} has no trained weights in CompressAI's zoo; give --weights {name}=FILE")
        state = _fetch(f"{name}:{quality}", urls if variable else urls[quality])
    else:
        state = _read(Path(weights))
    extra = {"vr_entbttlnck": True} if model in ("bmshj2018-hyperprior-vbr", "mbt2018-mean-vbr") else {}
    try:
        return architecture.from_state_dict(load_pretrained(state), **extra)
    except (KeyError, RuntimeError, AttributeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{weights or 'the zoo'}: no weights of {model} ({reason})") from None


def _fetch(name: str, url: str) -> Any:
    """The state dict behind `url`, kept in torch's cache of downloads."""
    import torch

    shown = sys.stderr.isatty()
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=shown, check_hash=True,
                                                  weights_only=True)  # fmt: skip
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
        reason = str(error).splitlines()[0]
        raise OSError(f"{name}: its weights could not be fetched from {url} ({reason}); fetch them elsewhere and give "
                      f"--weights {name.rpartition(':')[0]}=FILE") from None  # fmt: skip


def _read(path: Path) -> Any:
    """The state dict in a .safetensors file, or in a checkpoint of torch's that holds nothing but tensors."""
    from eval.models.official import restricted

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(str(path))
        state = restricted(path)
    except OSError:
        raise
    except Exception as error:  # pickle, zip and safetensors raise whatever they meet
        reason = " ".join(str(error).split())[:120] or "damaged"
        raise ValueError(f"{path}: is no file of weights ({reason})") from None
    return state.get("state_dict", state) if isinstance(state, dict) else state


def _check(data: bytes, sha256: str) -> bytes:
    return zlib.crc32(bytes.fromhex(sha256) + data).to_bytes(4, "little")


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _read_leb128(data: bytes, at: int, damaged: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"{damaged}: its header is cut")
