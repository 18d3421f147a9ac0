"""A worker that fails, importable by a process that has nothing else to import."""

import os
import signal


def make_failing():
    return fail


def fail(unit: int) -> int:
    """3 raises, 5 ends the process, the rest comes back."""
    if unit == 3:
        raise ValueError("three is bad")
    if unit == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit


def make_numbering():
    """Every unit's answer is the number of the worker that had it."""
    from pipelines.run.engines import number

    worker = number()
    return lambda unit: worker
