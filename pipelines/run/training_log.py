"""What a training run writes down while it runs: log.jsonl, and the same for TensorBoard."""

from __future__ import annotations

import io
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from pipelines.run.atomic import telling, write_text


class Log:
    """Means over every `log_steps` steps, to log.jsonl and to TensorBoard. Lines after the resumed step are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "log.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if (row := parsed(line)) and row["step"] <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))
        self.board = Board(folder / "tensorboard", step)
        self.values: dict[str, list[float]] = {}

    def add(self, step: int, seconds: float, values: dict[str, float], every: int) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)
        if step % every:
            return
        means = {name: sum(values) / len(values) for name, values in self.values.items()}
        line = json.dumps({"step": step, "seconds": round(seconds, 1), **means}) + "\n"
        with telling(self.path, len(line)), self.path.open("a") as file:
            file.write(line)
        self.board.add(step, means)
        self.values = {}


class Board:
    """Scalars in TensorBoard's format, written before `add` returns. torch's own writer does it in a thread, whose
    errors are told as a traceback beside the one line. Steps after `step` in older files are void."""

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self.path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        begin = SessionLog(status=SessionLog.START)
        self._write([Event(file_version="brain.Event:2"), Event(step=step, session_log=begin)])

    def add(self, step: int, values: dict[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        entries = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._write([Event(step=step, summary=Summary(value=[entry])) for entry in entries])

    def _write(self, events: list[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        buffer = io.BytesIO()
        for event in events:
            event.wall_time = time.time()
            RecordWriter(buffer).write(event.SerializeToString())
        with telling(self.path, buffer.tell()):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(buffer.getbuffer())


def parsed(line: str) -> dict[str, Any] | None:
    """A line of the log; None where a run that was killed left half of one."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None
