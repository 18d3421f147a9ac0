"""Network files: any frame alone, tensors exactly, damage told by the tensor's name, lies of the header refused."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import nerv
from icm.bitstream import Header, OtherWeights, StreamError, Times, Unsupported, read, write
from icm.bitstream.fields import Cursor
from nerv.codec import NetworkCodec, NetworkDecoder
from nerv.file import NetworkFile, write_networks
from nerv.models.architecture import Architecture
from nerv.models.decoder import Decoder, positional
from tests.nerv.tiny import FRAMES, TINY, tensors

TIMES = Times.of([0, 10, 21, 30, 44, 50, 60, 71], Fraction(1, 100))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two segments, of 5 and 3 frames."""
    path = tmp_path_factory.mktemp("network") / "a.vcm"
    parts = [(FRAMES, tensors()), (3, tensors(frames=3, seed=50))]
    path.write_bytes(write_networks("hnerv", TINY, parts, TIMES, "bt709", (17, 10)))
    return path


def test_tensors_come_back(file: Path) -> None:
    with NetworkFile(file) as found:
        assert found.architecture == TINY
        assert found.counts == [5, 3]
        for segment, expected in ((0, tensors()), (1, tensors(frames=3, seed=50))):
            for name, tensor in found.tensors(segment).items():
                assert (tensor.values() == expected[name].values()).all()
        assert sum(found.bytes_of(name) for name in found.names) == sum(found.stream.lengths)


def test_every_frame_alone_is_that_of_all(file: Path) -> None:
    codec = NetworkCodec("hnerv")
    every = list(codec.decode_clip(file))
    assert [tick for _, tick in every] == [0, 10, 21, 30, 44, 50, 60, 71]
    assert every[0][0].shape == (10, 17, 3)
    for index in (6, 0, 4, 7, 5):
        with NetworkDecoder(file) as decoder:
            assert (decoder.frame(index) == every[index][0]).all()
    assert [tick for _, tick in codec.decode_clip(file.read_bytes(), 4, 6)] == [44, 50]


def test_a_file_is_a_sequence_of_frames(file: Path) -> None:
    every = np.stack([frame for frame, _ in NetworkCodec("hnerv").decode_clip(file)])
    with nerv.open(file) as video:
        assert len(video) == 8
        assert (video[2:7] == every[2:7]).all()
        assert (video[-1] == every[-1]).all()
        assert video[5:5].shape == (0, 10, 17, 3)
        with pytest.raises(IndexError, match="8 frames, no number 8"):
            video[8]


def test_the_frame_is_what_the_equations_say(file: Path) -> None:
    """Written anew from the paper: 1×1, GELU, twice convolution, PixelShuffle, GELU; 3×3, tanh."""
    state = {name: torch.from_numpy(t.values()) for name, t in tensors().items()}
    x = state["embedding"][..., 2][None]
    x = torch.nn.functional.gelu(torch.nn.functional.conv2d(x, state["stem.weight"], state["stem.bias"]))
    for i, stride in enumerate(TINY.strides):
        x = torch.nn.functional.conv2d(x, state[f"blocks.{i}.weight"], state[f"blocks.{i}.bias"], padding=(0, 1)[i])
        b, c, h, w = x.shape
        x = x.reshape(b, c // stride**2, stride, stride, h, w).permute(0, 1, 4, 2, 5, 3)
        x = torch.nn.functional.gelu(x.reshape(b, c // stride**2, h * stride, w * stride))
    x = torch.nn.functional.conv2d(x, state["head.weight"], state["head.bias"], padding=1).tanh() / 2 + 0.5
    expected = (x[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()[1:11, :17].astype(int)
    with NetworkDecoder(file) as decoder:
        assert np.abs(decoder.frame(2).astype(int) - expected).max() <= 1


def test_damage_is_told_by_the_tensors_name(file: Path) -> None:
    with NetworkFile(file) as found:
        place = found.names.index("blocks.0.weight")
        offset = {name: at for name, at, _ in found.stream.layout()}[f"section {place}"]
    data = bytearray(file.read_bytes())
    data[offset + 3] ^= 4
    codec = NetworkCodec("hnerv")
    with pytest.raises(StreamError, match=r"blocks\.0\.weight of segment 0"):
        list(codec.decode_clip(bytes(data)))
    assert len(codec.verify(bytes(data))) == 1
    assert "blocks.0.weight" in codec.verify(bytes(data))[0]
    intact = [frame for frame, _ in codec.decode_clip(bytes(data), 5)]  # the other segment
    with read(bytes(data), partial=True) as stream:
        picture, lost, _ = codec.decode_partial(stream, 1)
        assert (picture == 128).all()
        assert "blocks.0.weight" in lost[0, 10, 0, 17]
        picture, lost, _ = codec.decode_partial(stream, 6)
        assert (picture == intact[1]).all()
        assert not lost


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": bytes(8)}, "was coded with the tables"),
        ({"parameters": b""}, "ends"),
        ({"parameters": b"\3"}, "newer format"),
        ({"parameters": b"\1\1\7"}, "ends"),
        ({"width": 5000}, "smaller frames"),
        ({"memory": 1 << 20}, "more memory"),
    ],
)
def test_lies_of_the_header(file: Path, change: dict, message: str) -> None:
    with read(file) as stream:
        header, sections = stream.header, [stream.section(i) for i in range(len(stream))]
    lie = write(replace(header, **change), sections)
    with pytest.raises((StreamError, OtherWeights), match=message):
        NetworkFile(lie)
    if "weights" not in change:
        with pytest.raises(StreamError, match="sections"):
            NetworkFile(write(header, sections[:-1]))


def test_a_refused_file_is_closed(file: Path, tmp_path: Path) -> None:
    """Warnings are errors here, and one that stayed open would warn."""
    with read(file) as stream:
        lie = write(replace(stream.header, parameters=b"\3"), stream.sections())
    (tmp_path / "lie.vcm").write_bytes(lie)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Unsupported, match="newer format") as caught:
        NetworkFile(tmp_path / "lie.vcm")
    assert len(os.listdir("/proc/self/fd")) == before, caught  # the traceback still holds the object


def test_a_picture_is_no_network() -> None:
    with pytest.raises(StreamError, match="holds a picture"):
        NetworkFile(write(Header("picture", 8, 8, "sa-icm-s", bytes(8)), [b""]))


@pytest.mark.parametrize(
    "wrong",
    [{"strides": (1,)}, {"kernels": (2, 3)}, {"activation": "none"}, {"positional": (1250, 40)}, {"widths": (0, 6, 5)},
     {"strides": (4000, 4000)}, {"widths": (8, 16000, 16000)}],
)  # fmt: skip
def test_impossible_architectures(wrong: dict) -> None:
    with pytest.raises(ValueError):
        replace(TINY, **wrong)


def test_nerv_needs_no_embedding() -> None:
    nerv = Architecture((8, 1, 1), (6, 5, 4), (2, 2), (3, 3), (3, 4), (1250, 4), "gelu", "sigmoid")
    assert Architecture.parse(Cursor(nerv.to_bytes(), 0)) == nerv
    data = write_networks("nerv", nerv, [(7, tensors(nerv, 7))], Times.constant(7, 25))
    frames = [frame for frame, _ in NetworkCodec("nerv").decode_clip(data)]
    assert frames[0].shape == (12, 16, 3)
    assert (frames[0] != frames[6]).any()
    code = positional(torch.tensor([0.5]), 1.25, 2)[0, :, 0, 0]
    expected = [np.sin(np.pi / 2), np.sin(1.25 * np.pi / 2), np.cos(np.pi / 2), np.cos(1.25 * np.pi / 2)]
    assert code.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert sum(p.numel() for p in Decoder(nerv).parameters()) == nerv.parameters
