"""`vcm train`: any task of `pipelines/tasks`, from a YAML, in the one loop of `pipelines/trainer.py`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

NAME = "train"
HELP = "train a codec (or a task model) from a configuration; can be stopped at any moment and resumed"
EPILOG = """\
examples:
  vcm train pipelines/configs/sa-icm-s.yaml -o runs/sa-icm-s --minutes 30
  vcm train pipelines/configs/sa-icm-s.yaml -o runs/sa-icm-s --minutes 60 --resume
  vcm train pipelines/configs/lic-s.yaml -o runs/lic-s --steps 20000 settings.learning_rate=3e-4 trainer.seed=1
  torchrun --nproc-per-node 8 -m pipelines train pipelines/configs/sa-icm-s.yaml -o runs/big --steps 400000

The folder gets checkpoint.safetensors, log.jsonl, tensorboard/, previews/ and, at the end, model.safetensors.
A run resumed with the same --steps is bit for bit the run that was never stopped; --minutes is wall-clock, added up
over resumes, and a larger number stretches the schedule.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=Path, metavar="CONFIG.yaml", help="task, settings and trainer; see pipelines/configs"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="replace single values, e.g. settings.crop=256"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="RUN", help="folder of the run (default: runs/NAME of the configuration)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help="train for this many steps in all (exactly repeatable)")
    length.add_argument("--minutes", type=float, help="train for this long in all, resumed runs added up")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the run's checkpoint, or start when there is none"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="check data, a few steps, the export, memory and disk, then stop"
    )


@dataclasses.dataclass
class Config:
    """task: a name of pipelines/tasks; settings: of that task; trainer: of the loop."""

    task: str
    settings: dict[str, Any]
    trainer: dict[str, Any] = dataclasses.field(default_factory=dict)


def load_config(path: Path, overrides: list[str]) -> tuple[Any, Any, Any]:
    """(task module, task settings, trainer settings) checked against their dataclasses; an unknown key is an error."""
    from pipelines.run import settings as reading
    from pipelines.tasks import TASKS
    from pipelines.trainer import TrainerSettings

    values = reading.read_yaml(path)
    for word in overrides:
        if word.partition(".")[0] not in ("settings", "trainer") or "=" not in word:
            raise ValueError(f"{word}: is not settings.KEY=VALUE or trainer.KEY=VALUE")
        values = reading.override(values, word)
    config = reading.build(Config, values, str(path))
    if config.task not in TASKS:
        raise ValueError(f"{path}: unknown task {config.task}; known: {', '.join(TASKS)}")
    module = importlib.import_module(TASKS[config.task])
    settings = reading.build(module.Settings, config.settings, f"{path}: settings")
    trainer = reading.build(TrainerSettings, config.trainer, f"{path}: trainer")
    return module, settings, trainer


def train(
    config: Path, overrides: list[str], output: Path | None, steps: int | None, minutes: float | None, resume: bool
) -> Path:
    """Run to the end; returns the path of the exported weights."""
    from pipelines.run import provenance
    from pipelines.trainer import Trainer

    module, settings, trainer_settings = load_config(config, overrides)
    trainer_settings = _with_length(trainer_settings, steps, minutes)
    folder = output or Path("runs") / config.stem
    task = module.build(settings, trainer_settings.seed)
    record = {"config": str(config), "overrides": overrides, "settings": dataclasses.asdict(settings),
              "trainer": dataclasses.asdict(trainer_settings), **provenance.provenance()}  # fmt: skip
    trainer = Trainer(task, trainer_settings, folder, record)
    return trainer.run(resume)


def run(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _dry_run(arguments)
    path = train(
        arguments.config, arguments.overrides, arguments.output, arguments.steps, arguments.minutes, arguments.resume
    )
    print(path)
    return 0


def _dry_run(arguments: argparse.Namespace) -> int:
    import os

    from pipelines.dry_run import dry_run

    module, settings, trainer_settings = load_config(arguments.config, arguments.overrides)
    trainer_settings = _with_length(trainer_settings, arguments.steps, arguments.minutes)
    folder = arguments.output or Path("runs") / arguments.config.stem
    lines = dry_run(module.build(settings, trainer_settings.seed), trainer_settings, folder, arguments.resume)
    if int(os.environ.get("RANK", 0)) == 0:
        for line in lines:
            print(line, file=sys.stderr)
        print(f"{arguments.config}: fine", file=sys.stderr)
    return 0


def _with_length(trainer_settings: Any, steps: int | None, minutes: float | None) -> Any:
    """The trainer's settings with the command line's --steps or --minutes, where one is given."""
    if steps is None and minutes is None:
        return trainer_settings
    return dataclasses.replace(trainer_settings, steps=steps, minutes=minutes)
