"""Locked groups: what a key opens, and that nothing of a locked group shows without it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from icm.bitstream import StreamError, read, write
from icm.codecs.groups.codec import GroupsCodec
from icm.groups import GroupMask, lock
from icm.groups.stream import extract, listing
from tests.icm.groups.conftest import random_picture

pytest.importorskip("cryptography")
IDS = np.array([[0, 0, 0, 0], [0, 1, 2, 2], [0, 1, 0, 3]], np.uint8)
MASK = GroupMask(IDS, ("background", "person", "car", "face"), 48, 64)
PICTURE = random_picture(np.random.default_rng(0), 48, 64)
ONE, TWO, THREE = (bytes([i]) * 32 for i in range(1, 4))


@pytest.fixture(scope="module")
def data(codec: GroupsCodec) -> bytes:
    return codec.encode(PICTURE, MASK, locks=[(["person", "face"], ONE), (["car"], TWO)], base=20)


def test_keys_open_their_groups(codec: GroupsCodec, data: bytes) -> None:
    whole, of = codec.decode(codec.encode(PICTURE, MASK)), MASK.pixels()
    for keys, shown in (((), [0]), ((ONE,), [0, 1, 3]), ((TWO,), [0, 2]), ((TWO, ONE), [0, 1, 2, 3])):
        expected = np.where(np.isin(of, shown)[..., None], whole, 128)
        assert np.array_equal(codec.decode(data, keys=keys), expected)
    with read(data) as stream:
        found = codec.decode_groups(stream, keys=[TWO])
        assert [row["locked"] for row in listing(stream)] == [False, True, True, True, False]
    assert found.shown == [0, 2]
    assert found.missing == {1: "locked with another key", 3: "locked with another key"}


def test_wrong_keys_are_one_line(codec: GroupsCodec, data: bytes) -> None:
    for keys in ([THREE], [ONE, THREE]):
        with pytest.raises(ValueError, match=f"^key {len(keys)} opens none of the locked groups: it is a wrong key"):
            codec.decode(data, keys=keys)
    with pytest.raises(ValueError, match=r"^group 1 \(person\): locked; --key-file names its key"):
        codec.decode(data, ["person"])
    with pytest.raises(ValueError, match=r"^group 1 \(person\): locked with another key"):
        codec.decode(data, ["person"], keys=[TWO])
    with pytest.raises(ValueError, match="twice"):
        codec.encode(PICTURE, MASK, locks=[(["car"], ONE), (["2"], TWO)])
    assert codec.encode(PICTURE, MASK, locks=[(["bike"], ONE)]) == codec.encode(PICTURE, MASK)


def test_a_locked_group_is_bound_to_its_place(codec: GroupsCodec, data: bytes) -> None:
    """Swapped, moved under another mask or another header, or changed, it does not open."""
    with read(data) as stream:
        header, sections = stream.header, list(stream.sections())
    swapped = [*sections[:2], sections[4], sections[3], sections[2], *sections[5:]]
    moved = [b"\x01\x02\x03", *sections[1:]]
    changed = [*sections[:2], sections[2][:-1] + bytes([sections[2][-1] ^ 1]), *sections[3:]]
    for broken in (swapped, changed):
        with pytest.raises(ValueError, match="locked with another key"):
            codec.decode(write(header, broken), ["person"], keys=[ONE])
    with pytest.raises(StreamError, match="mask"):
        codec.decode(write(header, moved), keys=[ONE])
    assert lock.associated(header, 6, b"a", 1) != lock.associated(header, 6, b"b", 1)
    payload = lock.lock(b"x", ONE, b"header")
    assert lock.unlock(payload, ONE, b"header") == b"x"
    with pytest.raises(lock.WrongKey):
        lock.unlock(payload, ONE, b"Header")
    with pytest.raises(lock.WrongKey):
        lock.unlock(b"short", ONE, b"header")


def test_nonces_are_random(codec: GroupsCodec, data: bytes) -> None:
    again = codec.encode(PICTURE, MASK, locks=[(["person", "face"], ONE), (["car"], TWO)], base=20)
    with read(data) as a, read(again) as b:
        same = [x == y for x, y in zip(a.sections(), b.sections(), strict=True)]
        assert same == [True, True, False, False, False, True]
        assert a.section(2)[:12] != b.section(2)[:12]
        with read(codec.encode(PICTURE, MASK)) as plain:
            assert a.lengths[2] == plain.lengths[2] + 28


def test_nothing_open_depends_on_locked_pixels(codec: GroupsCodec, data: bytes) -> None:
    """Neither the other groups nor the base: whatever the locked pixels are, those bytes are the same."""
    locked = np.isin(MASK.pixels(), (1, 2, 3))
    other = np.where(locked[..., None], np.random.default_rng(1).integers(0, 256, PICTURE.shape, np.uint8), PICTURE)
    again = codec.encode(other, MASK, locks=[(["person", "face", "car"], ONE)], base=20)
    with read(data) as a, read(again) as b:
        assert (a.section(0), a.section(1), a.section(5)) == (b.section(0), b.section(1), b.section(5))


def test_cutting_keeps_locks(codec: GroupsCodec, data: bytes) -> None:
    with read(data) as stream:
        small = extract(stream, ["person", "car"])
    whole, of = codec.decode(codec.encode(PICTURE, MASK)), MASK.pixels()
    assert np.array_equal(codec.decode(small, ["person"], keys=[ONE])[of == 1], whole[of == 1])
    assert not codec.verify(small)
    assert not codec.verify(small, keys=[ONE, TWO])
    assert (codec.decode(small) == 128).all()


def test_a_damaged_locked_group_is_damage_not_a_wrong_key(codec: GroupsCodec, data: bytes) -> None:
    with read(data) as stream:
        offset = next(offset for name, offset, _ in stream.layout() if name == "section 3")
    broken = bytearray(data)
    broken[offset + 20] ^= 4
    with read(bytes(broken), partial=True) as stream:
        found = codec.decode_groups(stream, keys=[ONE, TWO])
    assert found.shown == [0, 1, 3]
    assert list(found.lost) == [2]
    assert "group 2 (car)" in found.lost[2]


def test_key_files(tmp_path: Path) -> None:
    path, key = tmp_path / "key", os.urandom(32)
    for content in (key, key.hex().encode(), key.hex().upper().encode() + b"\n"):
        path.write_bytes(content)
        assert lock.read_key(path) == key
    for content in (b"", key[:31], key.hex().encode()[:-2], b"secret"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="32 bytes, or 64 hexadecimal"):
            lock.read_key(path)
    with pytest.raises(FileNotFoundError, match="no such key file"):
        lock.read_key(tmp_path / "none")


def test_without_the_package(codec: GroupsCodec, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(ImportError, match="pip install cryptography"):
        codec.encode(PICTURE, MASK, locks=[(["car"], ONE)])
    with pytest.raises(ImportError, match="cryptography"):
        codec.decode(data, keys=[ONE])
    codec.decode(data)  # what is open needs nothing
