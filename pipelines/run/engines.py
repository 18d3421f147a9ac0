"""Where units of work run: here with reading ahead, in processes of this machine, or in actors of Ray Data.

Every engine gives the results in the order of the units, keeps a bounded number of them in hand, and calls the same
function, so what is written does not depend on the engine.

    for result in spread(units, make, "ray", workers): …      # make() builds the function, once in each worker
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

U = TypeVar("U")
R = TypeVar("R")
ENGINES = ("local", "ray")
WAITING = 4
"""Units in hand for each worker, at most."""
BLOCKS = 10_000
"""Of units for Ray at most: what is in one is answered together."""
DIED = "a worker died, perhaps for want of memory; run again with fewer --workers"


class WorkerDied(OSError):
    """A worker ended without an answer: the fault is not a unit's, so the run ends."""


def ahead(items: Iterable[U], function: Callable[[U], R], depth: int = 2) -> Iterator[R]:
    """`function` of every item, in order, up to `depth` of them done ahead by a thread while the caller works."""
    pool = ThreadPoolExecutor(1)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def spread(units: Iterable[U], make: Callable[[], Callable[[U], R]], engine: str, workers: int) -> Iterator[R]:
    """The function that `make` builds, of every unit, in order, by `workers` of `engine`. make: importable, picklable.

    What the function raises is raised here. Raises WorkerDied, and ImportError without Ray where it is asked for.
    """
    return _ray(units, make, workers) if engine == "ray" else _processes(units, make, workers)


def need_ray() -> Any:
    """The ray module; ImportError with the command that installs it."""
    try:
        import ray
        import ray.data
    except ImportError:
        install = "pip install 'ray[data]<2.64' 'pyarrow<26' (the extra `cluster`)"
        raise ImportError(f"--engine ray needs Ray: {install}") from None
    return ray


def _processes(units: Iterable[U], make: Callable[[], Callable[[U], R]], workers: int) -> Iterator[R]:
    import multiprocessing

    # spawn: a fork of a process that has used torch or OpenCV threads may hang
    context = multiprocessing.get_context("spawn")
    numbers = context.SimpleQueue()
    for worker in range(workers):
        numbers.put(worker)
    pool = ProcessPoolExecutor(workers, context, _start, (make, numbers))
    waiting: deque[Future[Any]] = deque()
    try:
        for unit in units:
            waiting.append(pool.submit(_call, unit))
            if len(waiting) >= WAITING * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise WorkerDied(DIED) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_function: Callable[[Any], Any]
_number: int | None = None


def number() -> int | None:
    """Which of the workers of this machine this process is, from 0; None where it is none, or Ray deals out devices."""
    return _number


def _start(make: Callable[[], Callable[[Any], Any]], numbers: Any) -> None:
    global _function, _number
    _number = numbers.get()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches the whole group; the parent ends the pool
    _function = make()


def _call(unit: Any) -> Any:
    return _function(unit)


class _Actor:
    """What lives in a worker of Ray: a batch of one unit → one row, the answer or what was raised."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], folder: str) -> None:
        os.chdir(folder)  # relative paths mean here what they mean to the caller
        self.made: Callable[[Any], Any] | Exception
        try:
            self.made = make()
        except Exception as error:  # it is the caller's, and building again would not help
            self.made = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        answers: list[bytes] = []
        for unit in batch["unit"]:
            try:
                if isinstance(self.made, Exception):
                    raise self.made
                answers.append(pickle.dumps((self.made(pickle.loads(unit)), None)))
            except Exception as error:
                answers.append(pickle.dumps((None, error)))
        return {"answer": answers}


def _ray(units: Iterable[U], make: Callable[[], Callable[[U], R]], workers: int) -> Iterator[R]:
    """A pool of actors of Ray Data on the cluster of RAY_ADDRESS, or on a Ray of this machine that ends with the run.

    Every node must see the same files, under the same paths. How many units are in hand is Ray Data's to bound.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its future default, else it warns
    ray, rows = need_ray(), [{"unit": pickle.dumps(unit)} for unit in units]
    if not rows:
        return
    started = not ray.is_initialized()
    if started:
        root = str(Path(__file__).resolve().parents[2])  # workers must find this package where it is not installed
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        environment = {"env_vars": {"PYTHONPATH": path}}
        try:
            ray.init(runtime_env=environment, log_to_driver=False, logging_level="ERROR", **local)
        except Exception as error:  # Ray raises the bare class when its own processes do not answer in 30 s
            raise WorkerDied(f"Ray did not start ({' '.join(str(error).split())}); try --engine local") from None
    try:
        data = _dataset(ray, rows, make, workers)
        for row in data.iter_rows():
            answer, raised = pickle.loads(row["answer"])
            if raised is not None:
                raise raised
            yield answer
    except ray.exceptions.RayError:
        raise WorkerDied(DIED) from None
    finally:
        if started:
            ray.shutdown()


def _dataset(ray: Any, rows: list[dict[str, bytes]], make: Callable[[], Any], workers: int) -> Any:
    """Answers in the order of `rows`, by a pool of so many actors, none of which is started again when it dies."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # of what goes on the caller tells
    gpus = ray.cluster_resources().get("GPU", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's of its own settings, and of how restarts are named from 2.64 on
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = context.print_on_execution_start = False
        return ray.data.from_items(rows, override_num_blocks=min(len(rows), BLOCKS)).map_batches(
            _Actor, fn_constructor_args=(make, os.getcwd()), compute=ray.data.ActorPoolStrategy(size=workers),
            batch_size=1, num_cpus=1, num_gpus=min(1.0, gpus / workers), max_restarts=0, max_task_retries=0,
        )  # fmt: skip
