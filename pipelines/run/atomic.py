"""Files appear whole or not at all.

    with replacing(path) as temporary:      # a hidden name beside `path`, with the same suffix
        write(temporary)                    # leave normally: synced and renamed; raise: removed
    with replacing_folder(path) as temporary:   # the same for a folder and all that it holds

What a killed process leaves (kill -9, loss of power) has a hidden name that only this module gives. Who writes holds
it locked, and the kernel frees the locks of the dead: `sweep_beside` removes what they left of one output, `sweep` all
that they left in a folder.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TEMPORARY = re.compile(r"\.(.*\.)?[0-9a-f]{8}\.tmp(\.[^.]*)?", re.DOTALL)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def explain(
    error: OSError, path: str | os.PathLike[str], written: int | None = None, wanted: int | None = None
) -> OSError:
    """The same error as one line a user can act on: the file, how much of it was written, what to do."""
    if written is None:
        amount = "" if wanted is None else f" ({wanted} bytes more)"
    else:
        amount = f" (after {written}{'' if wanted is None else f' of {wanted}'} bytes)"
    if error.errno in _FULL:
        advice = "the file is larger than this account may write" if error.errno == errno.EFBIG else "the disk is full"
        return OSError(f"{path}: not written{amount}: {advice}; make room or choose another place")
    if isinstance(error, FileExistsError | NotADirectoryError):  # a parent is a file
        return OSError(f"{path}: not written: {error.filename} is not a folder; choose another place")
    reason = error.strerror or str(error)
    return OSError(f"{path}: not written{amount}: {reason.lower()}; choose another place")


@contextmanager
def telling(path: str | os.PathLike[str], more: int | None = None) -> Iterator[None]:
    """For a file that grows in place, by `more` bytes: its errors, which name no file, as `replacing` tells them."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise explain(error, path, None, more) from error


@contextmanager
def replacing(path: str | os.PathLike[str], wanted: int | None = None) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`; on success it is synced and takes the name, on failure removed.

    wanted: how many bytes it will have, where known; for the message. Missing parent folders are made. Raises OSError,
    one line naming `path`, when it cannot be written; errors of the caller's own (a codec that refuses a picture, say)
    pass unchanged.
    """
    path = Path(path)
    if path.is_dir():
        raise OSError(f"{path}: is a folder; name a file")
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: is not a regular file; name a file")  # renaming over /dev/null would replace it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, descriptor = _begin(path)
    except OSError as error:
        raise explain(error, path, 0, wanted) from error
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        _remove(temporary)
        ours = error.filename is None or Path(os.fsdecode(error.filename)) in (temporary, path)
        if error.errno is not None and (error.errno in _FULL or ours):
            raise explain(error, path, written, wanted) from error
        raise
    except BaseException:
        _remove(temporary)
        raise
    finally:
        os.close(descriptor)


def _begin(path: Path) -> tuple[Path, int]:
    """A new temporary file for `path`, and the descriptor that holds it locked."""
    while True:
        # cut: the stem may itself be as long as the file system allows
        temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.tmp{path.suffix}")
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # a file system without locks: nobody can tell that we are dead, and nothing is swept
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # swept between the two calls


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # a disk that fails may fail here too; the first error is the one to tell
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` whole or not at all; OSError as `replacing`."""
    with replacing(path, len(data)) as temporary:
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
        sweep_beside(path)
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


def sweep_beside(path: str | os.PathLike[str]) -> None:
    """Remove what dead runs left of `path`, a file or a folder: temporary names beside it that nobody holds locked."""
    path = Path(path)
    names = f"{re.escape(path.stem[:100])}|{re.escape(path.name[:100])}"
    left = re.compile(rf"\.({names})\.[0-9a-f]{{8}}\.tmp({re.escape(path.suffix)})?", re.DOTALL)
    for name in os.listdir(path.parent) if path.parent.is_dir() else ():
        if not left.fullmatch(name):
            continue
        found = path.with_name(name)
        with suppress(OSError):  # locked, so it lives; or gone meanwhile; or not ours to open
            descriptor = os.open(found, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if found.is_dir():
                    shutil.rmtree(found, ignore_errors=True)
                else:
                    found.unlink(missing_ok=True)
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
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()  # on Linux a file without a name, of which a kill leaves nothing
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
