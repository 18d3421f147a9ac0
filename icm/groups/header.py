"""What a structured stream says of its groups, in the codec's own bytes of the header. Normative: README.md.

    sections: mask │ group 0 │ … │ group n − 1 │ base, if there is one          an empty section: the group is not here
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from icm.bitstream import StreamError
from icm.groups.mask import GRIDS, MAX_GROUPS, check_name
from icm.groups.names import FIRST, KNOWN

CODEC = "groups"
LOWEST_CODE, HIGHEST_CODE = 16, 1600  # quality·16
_QUALITIES, _LOCKED, _BASE = 1, 2, 4


@dataclasses.dataclass(frozen=True)
class GroupsHeader:
    """names, codes (quality·16), locked: n each. grid, tile: pixels. base: (factor, code) of the picture that fills
    missing groups, or None. ValueError where it cannot be written."""

    names: tuple[str, ...]
    codes: tuple[int, ...]
    locked: tuple[bool, ...]
    grid: int
    tile: int
    base: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        if not 1 <= n <= MAX_GROUPS or len(self.codes) != n or len(self.locked) != n:
            raise ValueError(f"a picture has 1 to {MAX_GROUPS} groups, each with a name and a quality, not {n}")
        for name in self.names:
            check_name(name)
        codes = (*self.codes, *([self.base[1]] if self.base else []))
        if not all(LOWEST_CODE <= code <= HIGHEST_CODE for code in codes):
            raise ValueError("a group's quality is from 1 to 100")
        if self.grid not in GRIDS or self.tile not in {1 << e for e in range(7, 16)}:
            raise ValueError(f"a grid of {self.grid} px or tiles of {self.tile} px are none that there are")
        if self.base and self.base[0] not in (2, 4, 8, 16):
            raise ValueError(f"the base is reduced 2, 4, 8 or 16 times, not {self.base[0]}")

    @property
    def sections(self) -> int:
        return 1 + len(self.names) + (self.base is not None)

    def titled(self, group: int) -> str:
        """How messages call a group; group n is the base."""
        return f"group {group} ({self.names[group]})" if group < len(self.names) else "the base"

    def to_bytes(self) -> bytes:
        one, locked = len(set(self.codes)) == 1, sum(1 << i for i, lock in enumerate(self.locked) if lock)
        flags = _QUALITIES * (not one) | _LOCKED * any(self.locked) | _BASE * (self.base is not None)
        parts = [
            bytes([flags, (self.grid.bit_length() - 5) << 4 | self.tile.bit_length() - 1, len(self.names) - 1]),
            b"".join(map(_name_bytes, self.names)),
            b"".join(code.to_bytes(2, "little") for code in (self.codes[:1] if one else self.codes)),
            locked.to_bytes(8, "little") if locked else b"",
            bytes([self.base[0].bit_length() - 1]) + self.base[1].to_bytes(2, "little") if self.base else b"",
        ]
        return b"".join(parts)

    @classmethod
    def parse(cls, data: bytes) -> GroupsHeader:
        """The inverse. StreamError for anything that `to_bytes` does not write."""
        try:
            return cls._parse(data)
        except (IndexError, UnicodeDecodeError, ValueError) as error:
            line = " ".join(str(error).split())
            raise StreamError(f"damaged: parameters that no structured stream has ({line})") from None

    @classmethod
    def _parse(cls, data: bytes) -> GroupsHeader:
        flags, sizes, n, at = data[0], data[1], data[2] + 1, 3
        names = []
        for _ in range(n):
            first = data[at]
            length = 0 if first >= FIRST else first
            names.append(data[at + 1 : at + 1 + length].decode() if first < FIRST else KNOWN[first - FIRST])
            at += 1 + length
        count = n if flags & _QUALITIES else 1
        codes = [int.from_bytes(data[at + 2 * i : at + 2 * i + 2], "little") for i in range(count)]
        at += 2 * count
        mask = int.from_bytes(data[at : at + 8], "little") if flags & _LOCKED else 0
        at += 8 * bool(flags & _LOCKED)
        base = (1 << min(data[at], 9), int.from_bytes(data[at + 1 : at + 3], "little")) if flags & _BASE else None
        locked = tuple(bool(mask >> i & 1) for i in range(n))
        found = cls(tuple(names), tuple(codes * (n // count)), locked, 16 << (sizes >> 4), 1 << (sizes & 15), base)
        if found.to_bytes() != data:
            raise ValueError("a field is spelt as no encoder spells it")
        return found


def _name_bytes(name: str) -> bytes:
    """One byte for a known name, else length and text."""
    text = name.encode()
    return bytes([FIRST + KNOWN.index(name)]) if name in KNOWN else bytes([len(text)]) + text


def chosen(header: GroupsHeader, words: Sequence[str | int]) -> list[int]:
    """Numbers of groups by names (all of that name) and numbers, in order. ValueError: there is none of it."""
    found: set[int] = set()
    for word in words:
        text = str(word).strip()
        same = [int(text)] if text.isdecimal() else [i for i, name in enumerate(header.names) if name == text]
        if not same or not all(i < len(header.names) for i in same):
            known = ", ".join(dict.fromkeys(header.names))
            raise ValueError(f"no group {text!r}: the groups are 0 to {len(header.names) - 1}, called {known}")
        found |= set(same)
    return sorted(found)
