"""Video networks as codecs of the `vcm` command: decode any frame, verify, and what is intact of a damaged file.

    FILE ─▶ NetworkFile ─▶ tensors of the frame's segment ─▶ Decoder ─▶ (H, W, 3) uint8 RGB
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from icm.bitstream import Stream, StreamError
from icm.bitstream.precision import on_its_own
from nerv.coding.tensors import Tensor
from nerv.file import NetworkFile
from nerv.models.architecture import EMBEDDING, Architecture
from nerv.models.decoder import Decoder, positional

GREY = 128
Pictures = Callable[[bytes], np.ndarray]


def decoder_of(architecture: Architecture, tensors: dict[str, Tensor]) -> Decoder:
    """The module with these weights, ready to be run."""
    decoder = Decoder(architecture)
    state = {name: torch.from_numpy(tensors[name].values()) for name in architecture.shapes()}
    decoder.load_state_dict(state)
    return decoder.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class SegmentDecoder:
    """Frames of one segment: `frame(i)`, i from 0 within the segment. One frame at a time, so its pixels do not depend
    on which others are decoded. background: (H, W, 3) uint8 that the network's output is added to, or None."""

    def __init__(
        self, architecture: Architecture, tensors: dict[str, Tensor], frames: int, background: np.ndarray | None = None
    ) -> None:
        self.offset = None if background is None else offset(background, architecture)
        self.decoder, self.frames = decoder_of(architecture, tensors), frames
        if architecture.positional:
            base, levels = architecture.positional
            self.embeddings = positional(torch.arange(frames) / frames, base / 1000, levels)
        else:
            self.embeddings = _frames_first(tensors[EMBEDDING])
        self.details = {
            i: _frames_first(tensors[f"details.{i}"]) for i, channels in enumerate(architecture.details) if channels
        }

    @on_its_own
    def output(self, index: int) -> torch.Tensor:
        """(3, height, width) float32 in [0, 1]."""
        chosen = slice(index, index + 1)
        details = {i: values[chosen] for i, values in self.details.items()}
        x = self.decoder(self.embeddings[chosen], details)[0]
        return (x if self.offset is None else x.add_(self.offset)).clamp_(0, 1)

    def frame(self, index: int, size: tuple[int, int]) -> np.ndarray:
        """(height, width, 3) uint8, the middle of the network's output; size: (width, height)."""
        x = self.output(index)
        top, left = (x.shape[1] - size[1]) // 2, (x.shape[2] - size[0]) // 2
        x = x[:, top : top + size[1], left : left + size[0]]
        return x.mul(255).round_().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def offset(background: np.ndarray, architecture: Architecture) -> torch.Tensor:
    """(H, W, 3) uint8 → (3, height, width) float32 of the network's size, what is added to its output: 0 for mid-grey,
    the edge repeated, the picture in the middle."""
    down, right = architecture.height - background.shape[0], architecture.width - background.shape[1]
    sides = ((down // 2, down - down // 2), (right // 2, right - right // 2), (0, 0))
    whole = np.pad(background, sides, mode="edge").astype(np.float32)
    return torch.from_numpy(whole).permute(2, 0, 1) / 255 - 0.5


def _frames_first(tensor: Tensor) -> torch.Tensor:
    """(C, h, w, F) → (F, C, h, w)."""
    return torch.from_numpy(tensor.values()).permute(3, 0, 1, 2).contiguous()


def background_of(file: NetworkFile, pictures: Pictures | None) -> np.ndarray | None:
    """(H, W, 3) uint8, or None where the file has none. StreamError: damaged, or of another size than the clip."""
    data = file.background()
    if data is None:
        return None
    if pictures is None:
        raise ValueError(f"{file.name}: has a background, and nothing here decodes pictures; use `vcm decode`")
    try:
        picture = pictures(data)
    except StreamError as error:
        raise type(error)(f"{error} (the background of {file.name})") from None
    if picture.shape[:2] != (file.header.height, file.header.width):
        raise StreamError(f"damaged: the background of {file.name} is not of the clip's size")
    return picture


class NetworkDecoder:
    """Frames of a file by number, the network of the last segment kept. A context manager."""

    def __init__(self, source: Any, pictures: Pictures | None = None) -> None:
        """pictures: what decodes a background, bytes → (H, W, 3); needed where the file has one."""
        self.file = source if isinstance(source, NetworkFile) else NetworkFile(source)
        self.size = self.file.header.width, self.file.header.height
        try:
            self.background = background_of(self.file, pictures)
        except BaseException:
            self.file.close()
            raise
        self._segment = -1
        self._decoder: SegmentDecoder | None = None

    def frame(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB. ValueError: no such frame; StreamError: its segment is damaged."""
        segment = self.file.segment_of(index)
        if segment != self._segment or self._decoder is None:
            file = self.file
            tensors = file.tensors(segment)
            self._decoder = SegmentDecoder(file.architecture, tensors, file.counts[segment], self.background)
            self._segment = segment
        return self._decoder.frame(index - int(self.file.starts[segment]), self.size)

    def __len__(self) -> int:
        return int(self.file.header.frames)

    def __getitem__(self, chosen: int | slice) -> np.ndarray:
        """A frame (H, W, 3), or frames (n, H, W, 3), uint8 RGB."""
        if isinstance(chosen, slice):
            frames = [self.frame(i) for i in range(*chosen.indices(len(self)))]
            return np.stack(frames) if frames else np.empty((0, self.size[1], self.size[0], 3), np.uint8)
        if not -len(self) <= chosen < len(self):
            raise IndexError(f"{self.file.name}: has {len(self)} frames, no number {chosen}")
        return self.frame(chosen % len(self))

    def __enter__(self) -> NetworkDecoder:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


class NetworkCodec:
    """What `vcm decode`, `info` and `verify` ask of a codec. The file holds its own weights: none are needed."""

    suffix = ".vcm"

    def __init__(
        self, name: str, quality: float | None = None, weights: str | os.PathLike[str] | None = None,
        pictures: Pictures | None = None,
    ) -> None:  # fmt: skip
        if weights is not None:
            raise ValueError(f"{name}: its files hold their own weights; leave --weights out")
        self.name, self.quality, self.pictures = name, quality, pictures

    def encode(self, picture: np.ndarray) -> bytes:
        """ValueError: networks are fitted by `vcm encode CLIP`, in minutes and with files of their own."""
        raise ValueError(f"{self.name}: is a network that `vcm encode CLIP --codec {self.name}:0.75M` fits to a clip; "
                         "pictures and evaluations need another codec, or its decoded frames")  # fmt: skip

    def encode_clip(self, frames: Any, base: Any, colour: str = "srgb") -> bytes:
        """ValueError, as `encode`."""
        return self.encode(np.empty(0))

    def decode_clip(self, source: Any, start: int = 0, stop: int | None = None) -> Iterator[tuple[np.ndarray, int]]:
        """(frame, presentation tick) of the frames start … stop − 1; only their segments are read."""
        with NetworkDecoder(source, self.pictures) as decoder:
            header = decoder.file.header
            assert header.times is not None
            ticks = header.times.ticks
            for index in range(start, header.frames if stop is None else stop):
                yield decoder.frame(index), int(ticks[index])

    def decode_partial(self, stream: Stream, frame: int) -> tuple[np.ndarray, dict[tuple[int, ...], str], list[Any]]:
        """A frame, grey where a tensor of its segment is damaged: (picture, {window: reason}, [])."""
        header = stream.header
        try:
            return NetworkDecoder(NetworkFile(stream), self.pictures).frame(frame), {}, []
        except StreamError as error:
            grey = np.full((header.height, header.width, 3), GREY, np.uint8)
            return grey, {(0, header.height, 0, header.width): str(error)}, []

    def verify(self, source: Any) -> list[str]:
        """Every symbol decoded; the problems, a line a tensor."""
        problems = []
        with NetworkFile(source) as file:
            try:
                background_of(file, self.pictures)
            except StreamError as error:
                problems.append(str(error))
            for segment in range(len(file.counts)):
                for name in file.names:
                    try:
                        file.tensor(segment, name)
                    except StreamError as error:
                        problems.append(str(error))
        return problems


def build(name: str, quality: float | None = None, **options: Any) -> NetworkCodec:
    """The codec of that name, for `pipelines.codecs`."""
    return NetworkCodec(name, quality, **options)
