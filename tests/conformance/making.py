"""How the frozen streams were made: a function each, run for those that are not there yet.

    VCM_REFREEZE=1 pytest tests/conformance      makes streams, weights and entries that are missing, touches no others
    VCM_REFREEZE=all pytest tests/conformance    makes all anew: after a version bump, and only then

Encoders may change, so a stream that is made anew may hold other bytes; those that lie here must decode for ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from icm.bitstream import Header, Limits, Times, read, write
from icm.bitstream.fields import Cursor, crc32c, varint
from icm.bitstream.header import MAGIC
from icm.codecs.picture import PictureCodec
from icm.codecs.release import Release
from icm.quality_map import QualityMap, Roi
from nerv.file import write_networks
from nerv.models.architecture import Architecture
from pipelines.conformance_check import LIST, Row, look
from tests.conformance import more
from tests.icm.codecs.test_clips import coded, encoded
from tests.icm.conftest import picture, tiny_network
from tests.nerv.tiny import FRAMES, TINY, tensors

HERE = Path(__file__).parent
WEIGHTS = HERE / "tiny.safetensors"
SIZES = [(1, 1), (1, 50), (63, 64), (64, 65), (65, 63), (17, 31), (3, 900), (128, 128),
         (50, 1), (900, 3), (64, 64), (65, 65), (1, 20000), (20000, 1), (191, 67)]  # fmt: skip
NTSC = Fraction(1001, 30000)


def codec(quality: float = 50, name: str = "sa-icm-s", **options: Any) -> PictureCodec:
    return PictureCodec(name, quality, weights=WEIGHTS, **options)


def stream(name: str) -> bytes:
    """One that is already there."""
    return (HERE / name).read_bytes()


# --- pictures --------------------------------------------------------------------------------------------------------
def of_size(i: int) -> bytes:
    height, width = SIZES[i]
    return codec((1, 33.25, 60, 100)[i % 4]).encode(picture(height, width, i))


def mapped() -> bytes:
    """A picture whose cells of 16 pixels have three qualities, in tiles of 64."""
    depths = (np.indices((9, 7)).sum(0) // 3 % 3).astype(np.uint8)
    return codec(70, tile=64).encode(picture(135, 100, 50), QualityMap(Roi(16, 30), depths))


def mapped_coarsely() -> bytes:
    """Cells of 64 pixels, all eight depths, qualities that reach the lowest, one tile."""
    depths = (np.arange(9).reshape(3, 3) % 8).astype(np.uint8)
    return codec(60).encode(picture(140, 170, 51), QualityMap(Roi(64, 11), depths))


def escaping(factor: float) -> bytes:
    """Latents far beyond the tables, up to millions: escapes of many lengths."""
    of = codec(90)
    y = of.coder.analyse(picture(48, 80, 52), of.code)
    growing = factor * torch.logspace(-4, 0, y.shape[0])[:, None, None]
    return write(of._header("picture", 48, 80), [of.coder.encode_tile(y * growing, of.code)[0]])


# --- clips -----------------------------------------------------------------------------------------------------------
def moving(height: int, width: int, count: int, seed: int) -> list[np.ndarray]:
    frames = [picture(height, width, seed) for _ in range(count)]
    for i, frame in enumerate(frames):
        frame[height // 3 : height // 2, 9 * i : 9 * i + 40] = 250
    return frames


def clip() -> bytes:
    frames = [(picture(40, 56, 30 + i), 3 * i + (i > 2)) for i in range(5)]
    return codec(50, tile=64, refresh=1).encode_clip(frames, Fraction(1, 90))


def changed() -> bytes:
    """A clip of changed tiles, in areas of 128 pixels, with two finer key frames and a frame that sends nothing."""
    frames = [picture(150, 200, 40) for _ in range(7)]
    for i, frame in enumerate(frames):
        frame[60:90, 12 * (i - i // 3) : 12 * (i - i // 3) + 40] = 250
    return coded(codec(45, tile=128, refresh=4, finer=20), frames)


def timed(refresh: int) -> bytes:
    """Uneven times that begin below zero, in NTSC's ticks; colour as BT.709."""
    ticks = (-7, -3, 0, 2, 9, 30, 31, 32)
    frames = moving(95, 130, len(ticks), 41)
    made = codec(30, tile=64, refresh=refresh).encode_clip(zip(frames, ticks, strict=True), NTSC, "bt709")
    return made


# --- networks --------------------------------------------------------------------------------------------------------
def network(
    architecture: Architecture = TINY, frames: int = FRAMES, model: str = "hnerv", bits: int = 0, **more: Any
) -> bytes:
    """bits: of the weights' symbols, 0: as `tensors` makes them."""
    found = tensors(architecture, frames)
    if bits:
        random = np.random.default_rng(bits)
        limit = (1 << bits) // 2
        for name, tensor in found.items():
            if name.endswith("weight"):
                q = random.integers(-limit, limit, tensor.shape)
                rows = tensor.rows - 8 * (bits - 4)  # as large as with four bits
                found[name] = replace(tensor, q=q.astype(np.int32), rows=rows.astype(np.int32))
    return write_networks(model, architecture, [(frames, found)], Times.constant(frames, 25), **more)


def positional() -> bytes:
    return network(Architecture((8, 1, 1), (6, 5, 4), (2, 2), (3, 3), (3, 4), (1250, 4), "gelu", "sigmoid"), 7, "nerv")


def wide() -> bytes:
    """What format 2 has: a wider stem, residuals, details, a head that upsamples; and sines."""
    shape = Architecture((4, 2, 3), (8, 6, 5), (3, 2), (1, 3), activation="sine", output="linear", stem=3, head=2,
                         residuals=(2, 1), details=(0, 2))  # fmt: skip
    return network(shape, 3, "sa-nerv")


def in_segments() -> bytes:
    times = Times.of([0, 10, 21, 30, 44, 50, 60, 71], Fraction(1, 100))
    return write_networks("hnerv", TINY, [(5, tensors()), (3, tensors(frames=3, seed=50))], times, "bt601", (17, 10))


def on_background() -> bytes:
    return network(model="sa-nerv", size=(17, 11), background=codec(60).encode(picture(11, 17, 60)))


# --- files that are wrong, or nearly ---------------------------------------------------------------------------------
def parts(data: bytes) -> tuple[bytes, bytes]:
    """(body of the header with its table, sections) of a file."""
    cursor = Cursor(data, 4)
    body = cursor.take(cursor.varint())
    return body, data[cursor.at + 4 : -4]


def whole(body: bytes, sections: bytes, version: int = 0x10) -> bytes:
    """A file of these bytes, every checksum right."""
    start = MAGIC + bytes([version]) + varint(len(body)) + body
    data = start + crc32c(start).to_bytes(4, "little") + sections
    return data + crc32c(data).to_bytes(4, "little")


def changed_body(edit: Callable[[bytes], bytes], version: int = 0x10, name: str = "64x65.vcm") -> bytes:
    body, sections = parts(stream(name))
    return whole(edit(body), sections, version)


def features(bits: int) -> bytes:
    """64x65.vcm (which has no feature), with these."""
    return changed_body(lambda body: bytes([body[0] | 8]) + varint(bits) + body[1:])


def coloured(colour: int) -> bytes:
    """The same, with a colour: before its table, a length of two bytes and a checksum."""
    return changed_body(lambda body: bytes([body[0] | 64]) + body[1:-6] + bytes([colour]) + body[-6:])


def flipped(name: str, at: int, bit: int = 8) -> bytes:
    data = bytearray(stream(name))
    data[at] ^= bit
    return bytes(data)


def lying(name: str, limits: Limits = Limits(), **fields: Any) -> bytes:  # noqa: B008
    """A stream under a header that says something else."""
    with read(stream(name)) as found:
        return write(replace(found.header, **fields), list(found.sections()), limits)


def desynchronised(name: str, section: int = 0) -> bytes:
    """A bit of a section is wrong, checksums are right."""
    with read(stream(name)) as found:
        sections = [bytearray(part) for part in found.sections()]
        payload = sections[section]
        payload[len(payload) // 2] ^= 16
        return write(found.header, sections)


def late() -> bytes:
    """A network whose last section is cut by the file's end: a clip or network is not read whole."""
    return stream("hnerv-8-bit.vcm")[:-20]


def huge(**fields: Any) -> bytes:
    about = {"kind": "picture", "width": 8, "height": 8, "model": "sa-icm-s", "weights": bytes(8), **fields}
    return write(Header(**about), [b""], Limits(1 << 60, 1 << 40, 1 << 40, 1 << 40, 1 << 40, 1 << 60))


LARGE = 1 << 20
MAKERS: dict[str, Callable[[], bytes]] = {
    **{f"{h}x{w}.vcm": (lambda i=i: of_size(i)) for i, (h, w) in enumerate(SIZES)},
    "tiles.vcm": lambda: codec(50, tile=64, refresh=1).encode(picture(130, 190, 20)),
    "clip.vcm": clip,
    "changed.vcm": changed,
    "map.vcm": mapped,
    "map-coarse.vcm": mapped_coarsely,
    "flat.vcm": lambda: codec(20).encode(np.full((40, 300, 3), 77, np.uint8)),
    "escapes.vcm": lambda: escaping(1e4),
    "escapes-far.vcm": lambda: escaping(3e7),
    "lic-s.vcm": lambda: codec(42, "lic-s").encode(picture(71, 90, 53)),
    "lic-s-changed.vcm": lambda: encoded(codec(35, "lic-s", tile=64, finer=0), moving(100, 140, 4, 42)),
    "clip-times.vcm": lambda: timed(1),
    "changed-times.vcm": lambda: timed(3),
    "changed-one.vcm": lambda: encoded(codec(25), moving(33, 70, 1, 43)),
    "nerv-positional.vcm": positional,
    "hnerv-8-bit.vcm": network,
    **{f"sa-nerv-{bits}-bit.vcm": (lambda bits=bits: network(model="sa-nerv", bits=bits)) for bits in (2, 3, 4, 6, 12)},
    "sa-nerv-escapes.vcm": lambda: network(model="sa-nerv", bits=30),
    "sa-nerv-wide.vcm": wide,
    "sa-nerv-background.vcm": on_background,
    "hnerv-segments.vcm": in_segments,
    **more.MAKERS,
    "later-minor.vcm": lambda: changed_body(lambda body: body + b"\1\2\3", 0x11),
    "optional-feature.vcm": lambda: features(1 << 41),
    "damaged-cut.vcm": lambda: stream("tiles.vcm")[:-9],
    "damaged-flip.vcm": lambda: flipped("64x65.vcm", -20),
    "damaged-none.vcm": lambda: b"VCM",
    "not-vcm.vcm": lambda: b"\x89PNG\r\n\x1a\n" + bytes(40),
    "not-vcm-empty.vcm": lambda: b"",
    "unsupported-major.vcm": lambda: changed_body(lambda body: body, 0x20),
    "unsupported-feature.vcm": lambda: features(1 << 40),
    "unsupported-kind.vcm": lambda: changed_body(lambda body: bytes([body[0] | 5]) + body[1:]),
    "unsupported-colour.vcm": lambda: coloured(9),
    "unsupported-network.vcm": lambda: lying("hnerv-8-bit.vcm", parameters=b"\x03"),
    "limit-side.vcm": lambda: huge(width=LARGE),
    "limit-pixels.vcm": lambda: huge(width=32768, height=32768),
    "limit-frames.vcm": lambda: huge(kind="clip", times=Times.constant(3 * LARGE, 25)),
    "limit-memory.vcm": lambda: huge(memory=1 << 40),
    "limit-header.vcm": lambda: b"VCM\x10" + varint(1 << 31) + bytes(60),
    "truncated-section.vcm": late,
    "truncated-length.vcm": lambda: changed_body(lambda body: body[:-6] + varint(9999) + body[-4:]),
    "damaged-header.vcm": lambda: flipped("clip.vcm", 9),
    "damaged-section.vcm": lambda: flipped("clip.vcm", -40),
    "damaged-checksum.vcm": lambda: flipped("65x63.vcm", -1),
    "damaged-tail.vcm": lambda: stream("65x63.vcm") + b"\0",
    "damaged-default.vcm": lambda: coloured(0),
    "damaged-number.vcm": lambda: changed_body(lambda body: body[:1] + bytes([body[1] | 128, 0]) + body[2:]),
    "damaged-quality.vcm": lambda: lying("64x65.vcm", parameters=b"\xff\xff\x0a"),
    "damaged-memory.vcm": lambda: lying("128x128.vcm", memory=0),
    "damaged-index.vcm": lambda: lying("changed-one.vcm", times=Times.constant(2, 25)),
    "damaged-segments.vcm": lambda: lying("hnerv-segments.vcm", times=Times.constant(9, 25)),
    "other-weights.vcm": lambda: lying("64x65.vcm", weights=b"\0others\0"),
    **{f"desynchronised-{name}": (lambda name=name, at=at: desynchronised(name, at)) for name, at in (
        ("tiles.vcm", 3), ("clip.vcm", 4), ("changed.vcm", 1), ("map.vcm", 0), ("hnerv-8-bit.vcm", 3),
        ("groups.vcm", 2), ("groups-cells.vcm", 0), ("segpic-grid.vcm", 0), ("segpic-labels.vcm", 0),
        ("sa-icm.vcm", 0))},
}  # fmt: skip


def make_weights(anew: bool) -> None:
    if anew or not WEIGHTS.exists():
        model = tiny_network(11)
        model.use_integers()
        Release.from_model(model).save(WEIGHTS)
    more.make_weights(anew)


def freeze(anew: bool = False) -> None:
    """Write what is missing; anew: everything."""
    make_weights(anew)
    place = HERE / LIST
    rows: dict[str, Row] = {} if anew or not place.exists() else json.loads(place.read_text())
    for name, make in MAKERS.items():
        if anew or not (HERE / name).exists():
            (HERE / name).write_bytes(make())
        if name not in rows:
            extras = more.EXTRAS.get(name, {})
            found = look(HERE / name, extras)
            entry = {"error": found["error"]} if "error" in found else {**found, **extras}
            rows[name] = {key: value for key, value in entry.items() if value is not None}
    place.write_text(json.dumps(rows, indent=1) + "\n")
