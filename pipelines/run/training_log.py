"""What a training run writes down while it runs: log.jsonl, and the same for TensorBoard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.run.atomic import write_text


class Log:
    """Means over every `log_steps` steps, to log.jsonl and to TensorBoard. Lines after the resumed step are dropped."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "log.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line for line in lines if (row := parsed(line)) and row["step"] <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)
        self.values: dict[str, list[float]] = {}

    def add(self, step: int, seconds: float, values: dict[str, float], every: int) -> None:
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)
        if step % every:
            return
        means = {name: sum(values) / len(values) for name, values in self.values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "seconds": round(seconds, 1), **means}) + "\n")
        for name, value in means.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()
        self.values = {}


def parsed(line: str) -> dict[str, Any] | None:
    """A line of the log; None where a run that was killed left half of one."""
    try:
        return dict(json.loads(line))
    except ValueError:
        return None
