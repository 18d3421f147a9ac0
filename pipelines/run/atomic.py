"""Files appear whole or not at all.

    with replacing(path) as temporary:      # a hidden name beside `path`, with the same suffix
        write(temporary)                    # leave normally: synced and renamed; raise: removed
    with replacing_folder(path) as temporary:   # the same for a folder and all that it holds

What a killed process leaves (kill -9, loss of power) has a hidden name that only this module gives; `sweep` removes it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape as glob_escape
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = re.compile(r"\.(.*\.)?[0-9a-f]{8}\.tmp(\.[^.]*)?", re.DOTALL)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


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


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it takes the name, and what had it is removed, whole.

    A kill leaves the old folder or the new one (where the system cannot exchange two names in one step, both under
    hidden names for a moment); the next call for this path removes what it left. Raises OSError, one line, where the
    folder cannot be renamed or written.
    """
    shown, path = Path(path), Path(path).resolve()
    if path.exists() and not path.is_dir():
        raise OSError(f"{shown}: is a file; name a folder")
    if os.path.ismount(path) or Path.cwd().is_relative_to(path):
        raise OSError(f"{shown}: cannot be replaced as a whole (in use); name a folder inside it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_beside(path)
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
        temporary.mkdir()
    except OSError as error:
        raise explain(error, shown) from error
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # tells another run that this one lives
        yield temporary
        try:
            _sync(temporary)
            _take_place(temporary, path)
            _sync(path.parent)
        except OSError as error:
            raise explain(error, shown) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # on success: what was there before, if anything
        os.close(descriptor)


def _take_place(new: Path, path: Path) -> None:
    """`new` gets the name `path`; a folder that had it is left under the name `new`."""
    if not path.exists():
        os.rename(new, path)
        return
    shutil.copymode(path, new)
    exchange = getattr(ctypes.CDLL(None), "renameat2", None)
    if exchange and not exchange(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE):
        return
    aside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(aside, path)
        raise
    os.rename(aside, new)


def _sweep_beside(path: Path) -> None:
    """Remove temporary folders of `path` whose run is dead: the kernel freed its lock."""
    for found in path.parent.glob(f".{glob_escape(path.name[:100])}.*.tmp"):
        if not _TEMPORARY.fullmatch(found.name) or not found.is_dir():
            continue
        descriptor = os.open(found, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(found, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def is_temporary(name: str) -> bool:
    """Whether this module gives such names to what is not yet whole."""
    return _TEMPORARY.fullmatch(name) is not None


def sweep(folder: str | os.PathLike[str], lock: str) -> None:
    """Remove what killed runs left below `folder`. Only for who has it locked; folders with a `lock` file are left."""
    for place, folders, files in os.walk(folder):
        if lock in files and place != os.fspath(folder):  # the folder of a run of its own
            folders.clear()
            continue
        for name in filter(is_temporary, files):
            Path(place, name).unlink(missing_ok=True)
        for name in filter(is_temporary, list(folders)):
            shutil.rmtree(Path(place, name), ignore_errors=True)
            folders.remove(name)


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
