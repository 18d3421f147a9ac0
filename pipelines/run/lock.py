"""One run at a time in one output folder.

The lock is the kernel's (flock), so a run that died holds nothing: its file is simply taken over. That the file is
still there tells that the run was killed, and what it was writing is swept away.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from pipelines.run.atomic import explain, sweep

FILE = ".vcm.lock"


class Lock:
    """`with Lock(folder): …`; a second run on the same folder is refused with ValueError, one line naming its pid."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.path = self.folder / FILE
        self._descriptor: int | None = None

    def __enter__(self) -> Lock:
        while True:
            killed = self.path.exists()  # a run that ends removes it
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise ValueError(
                    f"{self.folder}: another run (pid {pid}) is writing here; wait for it or choose another -o"
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            if self._is_current(descriptor):
                break
            os.close(descriptor)  # the holder removed the file between our open and our lock: try the new one
        mine = f"{os.getpid()}\n".encode()
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, mine)
        except OSError as error:  # the folder could be made, but the disk has no room for a line
            if not killed:  # else it still tells that there is something to sweep
                self.path.unlink(missing_ok=True)
            os.close(descriptor)
            raise explain(error, self.path, 0, len(mine)) from error
        self._descriptor = descriptor
        if killed:
            sweep(self.folder, FILE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)  # while still held, so that nobody locks a removed file for long
            os.close(self._descriptor)
            self._descriptor = None

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False
