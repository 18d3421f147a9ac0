"""Locked groups: AES-256-GCM of the `cryptography` package around a group's section. Normative: README.md.

    nonce (12 random bytes) │ ciphertext │ tag (16)      associated data: header, mask, number of the section

So a locked group cannot be moved to another file, place or number, and a wrong key is told from a right one. What stays
visible: that there is a group, its name, its cells and its size in bytes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from icm.bitstream import Header

KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
INSTALL = "locked groups need the package cryptography: pip install cryptography"


class WrongKey(ValueError):
    """No key fits, or the section was changed: the two cannot be told apart."""


def read_key(path: str | os.PathLike[str]) -> bytes:
    """A key file: 32 bytes, or 64 hexadecimal digits. ValueError, OSError."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such key file; make one: head -c 32 /dev/urandom > {path}")
    data = Path(path).read_bytes()
    if len(data) == KEY_BYTES:
        return data
    try:
        key = bytes.fromhex(data.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path}: is no key: it must hold {KEY_BYTES} bytes, or {2 * KEY_BYTES} hexadecimal digits")
    return key


def associated(header: Header, sections: int, mask: bytes, number: int) -> bytes:
    """What a locked section is bound to: everything that decides how its bytes are decoded and where they are shown."""
    return b"".join([b"vcm groups 1\0", header.to_bytes(sections), mask, number.to_bytes(2, "little")])


def associated_of_clip(head: bytes, number: int) -> bytes:
    """The same of a section of a clip, whose masks are in the header. head: of `head_of`."""
    return b"vcm groups of frames 1\0" + head + number.to_bytes(4, "little")


def head_of(header: Header, sections: int) -> bytes:
    """A hash, since the header of a clip is long and its sections are many."""
    return hashlib.sha256(header.to_bytes(sections)).digest()


def lock(payload: bytes, key: bytes, data: bytes) -> bytes:
    """Encrypt. ImportError where the package is missing."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + cipher(key).encrypt(nonce, payload, data)


def unlock(section: bytes, key: bytes, data: bytes) -> bytes:
    """Decrypt. WrongKey; ImportError where the package is missing."""
    opened = cipher(key)
    from cryptography.exceptions import InvalidTag

    if len(section) < NONCE_BYTES + TAG_BYTES:
        raise WrongKey("a locked section is too short")
    try:
        return opened.decrypt(section[:NONCE_BYTES], section[NONCE_BYTES:], data)
    except InvalidTag:
        raise WrongKey("the key does not fit, or the bytes were changed") from None


def cipher(key: bytes) -> Any:
    """AES-GCM with this key. ValueError: no key; ImportError: the package is missing."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ImportError(INSTALL) from None
    return AESGCM(key)
