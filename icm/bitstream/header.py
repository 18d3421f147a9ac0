"""The header of a .vcm file: what it says about itself, and its bytes, both ways. Normative: README.md ("Header")."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import Damaged, Unsupported
from .fields import Cursor, memory_byte, memory_bytes, varint
from .limits import Limits
from .times import Times

MAGIC = b"VCM"
VERSION = (1, 0)
KINDS = ("picture", "clip", "network", "groups")
TIMED = ("clip", "network")  # these have timestamps; a picture has none; groups may
COLOURS = ("srgb", "bt601", "bt709", "bt2020")
NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}")
WEIGHTS_BYTES = 8

# Feature bits: an even one is required (a reader that does not know it refuses the file), an odd one is optional.
SAME_BUILD = 1 << 1  # symbols depend on floats: decodes surely only on the build that encoded it
CHANGED_TILES = 1 << 2  # a section of a clip holds only what changed since the frame before (icm/codecs/clips.md)
QUALITY_MAP = 1 << 4  # cells of a picture have qualities of their own, coded before its symbols (icm/quality_map.py)
GROUPS_OF_FRAMES = 1 << 6  # a section of a clip holds what is new of one group of cells (icm/groups/clips.md)
FEATURES = {1: "same-build", 2: "changed tiles", 4: "quality map", 6: "groups of frames"}
FEATURE_BITS = 63

_HAS_FEATURES, _HAS_COUNT, _HAS_TIMES, _HAS_COLOUR, _RESERVED = 8, 16, 32, 64, 128


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    kind: one of KINDS. width, height: pixels of a frame. model: the codec's name, never a path. weights: the first 8
    bytes of the SHA-256 of its weights and tables. parameters: the codec's own bytes. memory: bytes that decoding
    needs, rounded up when written (32 KiB at least). times: of a clip or network. colour: where the RGB samples come
    from; they are always full-range 8-bit RGB. features: bits, see FEATURES. Raises ValueError where it cannot be
    written.
    """

    kind: str
    width: int
    height: int
    model: str
    weights: bytes
    parameters: bytes = b""
    memory: int = 0
    times: Times | None = None
    colour: str = "srgb"
    features: int = 0
    version: tuple[int, int] = VERSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind of a stream is one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a frame of {self.width}x{self.height} pixels is empty")
        if not NAME.fullmatch(self.model):
            raise ValueError(
                f"a model's name is 1 to 32 of a-z 0-9 . - and begins with one of a-z 0-9, not {self.model[:40]!r}"
            )
        if len(self.weights) != WEIGHTS_BYTES:
            raise ValueError(
                f"weights are named by the first {WEIGHTS_BYTES} bytes of a hash, not by {len(self.weights)}"
            )
        if self.colour not in COLOURS:
            raise ValueError(f"the colour is one of {', '.join(COLOURS)}, not {self.colour!r}")
        if (self.times is None and self.kind in TIMED) or (self.times is not None and self.kind == "picture"):
            raise ValueError(f"a {self.kind} {'needs' if self.kind in TIMED else 'has no'} timestamps")
        if not 0 <= self.features < 1 << FEATURE_BITS:
            raise ValueError(f"{self.features:#x} is no set of {FEATURE_BITS} feature bits")
        if self.features & CHANGED_TILES and self.features & GROUPS_OF_FRAMES:
            raise ValueError("a section holds changed tiles or a group of a frame, not both")

    @property
    def frames(self) -> int:
        return self.times.frames if self.times else 1

    @property
    def same_build(self) -> bool:
        return bool(self.features & SAME_BUILD)

    def check(self, limits: Limits) -> None:
        """Raises LimitExceeded."""
        limits.check_size(self.width, self.height)
        limits.check("frames", self.frames, "the number of frames,")
        limits.check("memory_bytes", self.memory, "a declared decode memory in bytes of")

    def to_bytes(self, sections: int) -> bytes:
        """The header's body without the table of sections; a field that has its default value is left out."""
        flags = KINDS.index(self.kind)
        flags |= _HAS_FEATURES * (self.features != 0) | _HAS_COUNT * (sections != 1)
        flags |= _HAS_TIMES * (self.times is not None) | _HAS_COLOUR * (self.colour != "srgb")
        parts = [
            bytes([flags]),
            varint(self.features) if self.features else b"",
            varint(self.width - 1),
            varint(self.height - 1),
            varint(len(self.model)) + self.model.encode("ascii"),
            self.weights,
            bytes([memory_byte(self.memory)]),
            varint(len(self.parameters)) + self.parameters,
            self.times.to_bytes() if self.times else b"",
            bytes([COLOURS.index(self.colour)]) if self.colour != "srgb" else b"",
            varint(sections) if sections != 1 else b"",
        ]
        return b"".join(parts)


def parse(cursor: Cursor, version: tuple[int, int], limits: Limits) -> tuple[Header, int]:
    """The header and its number of sections, from a cursor at its body. Raises StreamError."""
    flags = cursor.byte()
    kind = flags & 7
    cursor.mark("kind and flags")
    if kind >= len(KINDS) or flags & _RESERVED:
        raise Unsupported(f"unsupported: a stream of kind {kind} with flags {flags >> 3:#x} is newer than this reader")
    features = _features(cursor) if flags & _HAS_FEATURES else 0
    width, height = cursor.varint() + 1, cursor.varint() + 1
    cursor.mark("width and height")
    limits.check_size(width, height)
    model = cursor.take(cursor.varint())
    cursor.mark("model")
    weights = cursor.take(WEIGHTS_BYTES)
    cursor.mark("SHA-256 of weights and tables, 8 bytes of it")
    memory = memory_bytes(cursor.byte())
    cursor.mark("decode memory")
    limits.check("memory_bytes", memory, "a declared decode memory in bytes of")
    parameters = cursor.take(cursor.varint())
    cursor.mark("parameters of the codec")
    times = None
    if flags & _HAS_TIMES:
        times = Times.parse(cursor, limits)
        cursor.mark("timestamps")
    colour, sections = 0, 1
    if flags & _HAS_COLOUR:
        colour = cursor.byte()
        cursor.mark("colour")
        if colour >= len(COLOURS):
            raise Unsupported(f"unsupported: colour {colour} is newer than this reader")
    if flags & _HAS_COUNT:
        sections = cursor.varint()
        cursor.mark("number of sections")
        limits.check("sections", sections, "the number of sections,")
    if (flags & _HAS_COLOUR and colour == 0) or (flags & _HAS_COUNT and sections < 2):
        raise Damaged("damaged: a field of the header repeats its default value")
    try:
        name = model.decode("ascii", errors="replace")
        header = Header(
            KINDS[kind], width, height, name, weights, parameters, memory, times, COLOURS[colour], features, version
        )
    except ValueError as error:
        raise Damaged(f"damaged: {error}") from None
    return header, sections


def _features(cursor: Cursor) -> int:
    features = cursor.varint()
    cursor.mark("feature bits")
    if features == 0:
        raise Damaged("damaged: a field of the header repeats its default value")
    unknown = [bit for bit in range(0, FEATURE_BITS, 2) if features >> bit & 1 and bit not in FEATURES]
    if unknown:
        bits = ", ".join(map(str, unknown))
        raise Unsupported(f"unsupported: the file needs feature {bits}, which this version does not know: update vcm")
    return features
