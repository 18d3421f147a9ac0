"""Files appear whole or not at all.

    with replacing(path) as temporary:      # a hidden name beside `path`, with the same suffix
        write(temporary)                    # leave normally: synced and renamed; raise: removed
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def explain(error: OSError, path: str | os.PathLike[str], written: int | None = None) -> OSError:
    """The same error as one line a user can act on: the file, how much was written, what to do."""
    if error.errno in _FULL:
        amount = "" if written is None else f" (after {written} bytes)"
        advice = "the file is larger than this account may write" if error.errno == errno.EFBIG else "the disk is full"
        return OSError(f"{path}: not written{amount}: {advice}; make room or choose another place")
    if isinstance(error, FileExistsError | NotADirectoryError):  # a parent is a file
        return OSError(f"{path}: not written: {error.filename} is not a folder; choose another place")
    reason = error.strerror or str(error)
    return OSError(f"{path}: not written: {reason.lower()}; choose another place")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes the name, on failure it is removed.

    Missing parent folders are made. Raises OSError, one line naming `path`, when it cannot be written; errors of the
    caller's own (a codec that refuses a picture, say) pass unchanged.
    """
    path = Path(path)
    if path.is_dir():
        raise OSError(f"{path}: is a folder; name a file")
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: is not a regular file; name a file")  # renaming over /dev/null would replace it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain(error, path) from error
    # cut: the stem may itself be as long as the file system allows
    temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        temporary.unlink(missing_ok=True)
        ours = error.filename is None or Path(os.fsdecode(error.filename)) in (temporary, path)
        if error.errno is not None and (error.errno in _FULL or ours):
            raise explain(error, path, written) from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` whole or not at all; OSError as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, whole or not at all; OSError as `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make an output folder and prove that it can be written, before hours of work; OSError in one line."""
    path = Path(path)
    probe = path / f".{secrets.token_hex(4)}.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except FileExistsError as error:
        raise OSError(f"{path}: is a file; name a folder") from error
    except OSError as error:
        raise explain(error, path) from error
    return path


def _sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk; file systems that cannot sync a folder are left alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)
