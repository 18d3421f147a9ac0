"""Streams of released versions keep decoding: frozen files, the symbols that they hold, the errors that they raise.

The weights are tiny and untrained, kept beside the streams. What is frozen is y_hat, which integers decide, not pixels,
which floats round. After a version bump, and only then: VCM_REFREEZE=1 pytest tests/conformance
"""

from __future__ import annotations

import hashlib
import json
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from icm.bitstream import CHANGED_TILES, StreamError, read
from icm.codecs.clips import ClipDecoder
from icm.codecs.picture import PictureCodec, tiles
from icm.quality_map import QualityMap, Roi
from tests.icm.codecs.test_clips import coded
from tests.icm.conftest import picture, tiny_network

HERE = Path(__file__).parent
WEIGHTS = HERE / "tiny.safetensors"
LIST = HERE / "frozen.json"
SIZES = [(1, 1), (1, 50), (63, 64), (64, 65), (65, 63), (17, 31), (3, 900), (128, 128)]


def symbols(path: Path) -> str:
    """SHA-256 over y_hat of every section (of changed tiles: of every frame), as float32 bytes."""
    digest = hashlib.sha256()
    with read(path) as stream:
        if stream.header.features & CHANGED_TILES:
            clip = ClipDecoder(stream, PictureCodec("sa-icm-s", weights=WEIGHTS).coder)
            for i in range(stream.header.frames):
                assert clip.step(stream, i) is None
                digest.update(clip.held.y_hat.numpy().astype("<f4").tobytes())
            return digest.hexdigest()
        coder, code, tile, roi = PictureCodec("sa-icm-s", weights=WEIGHTS)._parameters(stream)
        windows = tiles(-(-stream.header.height // 16), -(-stream.header.width // 16), tile)
        for i in range(len(stream)):
            r0, r1, c0, c1 = windows[i % len(windows)]
            y_hat = coder.decode_tile(stream.section(i), r1 - r0, c1 - c0, code, roi)
            digest.update(y_hat.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def changed() -> bytes:
    """A clip of changed tiles, in areas of 128 pixels, with two finer key frames and a frame that sends nothing."""
    codec = PictureCodec("sa-icm-s", 45, weights=WEIGHTS, tile=128, refresh=4, finer=20)
    frames = [picture(150, 200, 40) for _ in range(7)]
    for i, frame in enumerate(frames):
        frame[60:90, 12 * (i - i // 3) : 12 * (i - i // 3) + 40] = 250
    return coded(codec, frames)


def mapped() -> bytes:
    """A picture whose cells of 16 pixels have three qualities, in tiles of 64."""
    depths = (np.indices((9, 7)).sum(0) // 3 % 3).astype(np.uint8)
    codec = PictureCodec("sa-icm-s", 70, weights=WEIGHTS, tile=64)
    return codec.encode(picture(135, 100, 50), QualityMap(Roi(16, 30), depths))


def freeze() -> None:
    from icm.codecs.release import Release

    network = tiny_network(11)
    network.use_integers()
    Release.from_model(network).save(WEIGHTS)
    made = {}
    for i, (height, width) in enumerate(SIZES):
        codec = PictureCodec("sa-icm-s", (1, 33.25, 60, 100)[i % 4], weights=WEIGHTS)
        made[f"{height}x{width}.vcm"] = codec.encode(picture(height, width, i))
    tiled = PictureCodec("sa-icm-s", 50, weights=WEIGHTS, tile=64, refresh=1)
    made["tiles.vcm"] = tiled.encode(picture(130, 190, 20))
    frames = [(picture(40, 56, 30 + i), 3 * i + (i > 2)) for i in range(5)]
    made["clip.vcm"] = tiled.encode_clip(frames, Fraction(1, 90))
    made["changed.vcm"] = changed()
    made["map.vcm"] = mapped()
    cut, flipped = bytearray(made["tiles.vcm"]), bytearray(made["64x65.vcm"])
    flipped[-20] ^= 8
    made |= {"damaged-cut.vcm": bytes(cut[:-9]), "damaged-flip.vcm": bytes(flipped), "damaged-none.vcm": b"VCM"}
    for name, data in made.items():
        (HERE / name).write_bytes(data)
    rows = {}
    for name in made:
        try:
            rows[name] = {"symbols": symbols(HERE / name)}
        except StreamError as error:
            rows[name] = {"error": type(error).__name__}
    LIST.write_text(json.dumps(rows, indent=1) + "\n")


if os.environ.get("VCM_REFREEZE"):
    freeze()


@pytest.mark.parametrize("name", json.loads(LIST.read_text()))
def test_frozen_streams(name: str) -> None:
    expected = json.loads(LIST.read_text())[name]
    if "error" in expected:
        with pytest.raises(StreamError) as caught:
            symbols(HERE / name)
        assert type(caught.value).__name__ == expected["error"]
    else:
        assert symbols(HERE / name) == expected["symbols"]


def test_every_stream_is_listed() -> None:
    assert {path.name for path in HERE.glob("*.vcm")} == set(json.loads(LIST.read_text()))

