"""The one training loop: every network of the project is a `Task` that this loop runs.

    batch(step) ─▶ loss ─▶ backward ─▶ mean over processes ─▶ clip ─▶ optimisers ─▶ EMA ─▶ log, preview, checkpoint

Resuming is exact with --steps because nothing random survives a step: a batch is a pure function of (seed, step,
process), and torch's generator is seeded anew for each step. --minutes measures the clock, and adds up over resumes.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from pipelines.run import checkpoint
from pipelines.run.atomic import make_folder, write_text
from pipelines.run.lock import Lock
from pipelines.run.progress import progress as shown
from pipelines.run.training_log import Log

SKIPPED_LIMIT = 100
FREE = {"checkpoint_minutes", "preview_steps", "log_steps", "device", "threads", "loaders"}  # may change on --resume


class Task(Protocol):
    """What a network brings: pure functions of one step. The loop, its files and its processes live here, once."""

    name: str

    def build(self) -> nn.Module: ...

    def optimizers(self, model: nn.Module) -> dict[str, Optimizer]: ...

    def schedule(self, progress: float) -> float:
        """Factor on every learning rate, at progress 0…1."""
        ...

    def at(self, model: nn.Module, progress: float) -> None:
        """Enter the phase that belongs to this progress; called before every step, does nothing when already there."""
        ...

    def batch(self, step: int, rank: int, world: int) -> Any:
        """A pure function of the three (and of the task's seed): tensors, or tuples, lists, dicts of them."""
        ...

    def loss(self, model: nn.Module, batch: Any, step: int) -> dict[str, Tensor]:
        """What each optimiser minimises, under its name up to a dash ("main" is of "main" and of "main-muon"); every
        other entry is logged."""
        ...

    def preview(self, model: nn.Module, folder: Path, step: int) -> None: ...

    def export(self, model: nn.Module, path: Path) -> None: ...


@dataclasses.dataclass
class TrainerSettings:
    """steps or minutes is needed. clip: largest gradient norm (0: none). ema: decay of averaged weights (0: none).
    loaders: batches that threads make ahead, each its own."""

    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    amp: bool = True
    ema: float = 0.999
    clip: float = 1.0
    channels_last: bool = True
    checkpoint_minutes: float = 2.0
    preview_steps: int = 1000
    log_steps: int = 50
    device: str = "auto"
    threads: int = 0
    loaders: int = 2


class Trainer:
    """One run in one folder: checkpoint.safetensors, log.jsonl, tensorboard/, previews/, then model.safetensors."""

    def __init__(
        self, task: Task, settings: TrainerSettings, folder: Path, record: dict[str, Any] | None = None
    ) -> None:
        """record: what to write into run.json; its "settings" are the task's, and a resumed run must have the same."""
        if (settings.steps is None) == (settings.minutes is None):
            raise ValueError("train: give either --steps or --minutes")
        self.task, self.settings, self.folder = task, settings, folder
        self.record = record or {}
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        cuda = torch.cuda.is_available() if settings.device == "auto" else settings.device.startswith("cuda")
        local = int(os.environ.get("LOCAL_RANK", 0))
        self.device = torch.device(f"cuda:{local}") if cuda else torch.device("cpu")
        if settings.threads:
            torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self.model = task.build().to(self.device)
        if settings.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.train()  # weights that were loaded for use come in evaluation mode, where rounding has no gradient
        self.ema = copy.deepcopy(self.model) if settings.ema else self.model
        self.optimizers = task.optimizers(self.model)
        self.rates = {name: [group["lr"] for group in o.param_groups] for name, o in self.optimizers.items()}
        self.step, self.seconds, self.skipped = 0, 0.0, 0

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    @property
    def progress(self) -> float:
        if self.settings.steps is not None:
            return min(1.0, self.step / max(self.settings.steps, 1))
        assert self.settings.minutes is not None
        return min(1.0, self.seconds / (60 * self.settings.minutes))

    def run(self, resume: bool = False) -> Path:
        """Train to the end; returns the exported weights. ValueError where a run stands here and resume is off."""
        joined = self.world > 1 and not dist.is_initialized()
        if joined:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        if self.rank:
            path = self._run(resume)
        else:
            make_folder(self.folder)
            with Lock(self.folder):
                path = self._run(resume)
        if joined:
            dist.destroy_process_group()  # its threads must not outlive the interpreter
        return path

    def _run(self, resume: bool) -> Path:
        if self.checkpoint.exists():
            if not resume:
                raise ValueError(
                    f"{self.folder}: holds a run already; add --resume to go on with it, or name another folder"
                )
            self._load()
        elif self.rank == 0 and self.record:
            write_text(self.folder / "run.json", json.dumps(self.record, indent=1, default=str) + "\n")
        log = Log(self.folder, self.step) if self.rank == 0 else None
        started, before, saved = time.monotonic(), self.seconds, time.monotonic()
        remaining = None if self.settings.steps is None else max(0, self.settings.steps - self.step)
        for batch in shown(self._batches(), remaining, f"train {self.task.name}"):
            values = self._shared_values(self._advance(batch))
            self.seconds = self._clock(before + time.monotonic() - started)
            self.step += 1
            if log is not None:
                log.add(self.step, self.seconds, values, self.settings.log_steps)
                if self.step % self.settings.preview_steps == 0:
                    self._preview()
                if time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
            if self.progress >= 1:
                break
        if self.rank == 0:
            self._save()
            self._preview()
            self.task.export(self.ema, self.folder / "model.safetensors")
        if self.world > 1:
            dist.barrier()
        return self.folder / "model.safetensors"

    def _clock(self, seconds: float) -> float:
        """The first process's clock, so that all have the same learning rate and stop at the same step."""
        if self.world == 1 or self.settings.minutes is None:
            return seconds
        shared = torch.tensor(seconds, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def _batches(self) -> Iterator[Any]:
        """Batches in order, the next few made by threads while this one is used."""
        if self.progress >= 1:
            return
        ahead = max(1, self.settings.loaders)
        with ThreadPoolExecutor(ahead) as pool:
            waiting: list[Future[Any]] = [
                pool.submit(self.task.batch, self.step + i, self.rank, self.world) for i in range(ahead)
            ]
            while True:
                batch = waiting.pop(0).result()
                waiting.append(pool.submit(self.task.batch, self.step + ahead, self.rank, self.world))
                yield to_device(batch, self.device)

    def _advance(self, batch: Any) -> dict[str, float]:
        progress = self.progress
        self.task.at(self.model, progress)
        if self.ema is not self.model:
            self.task.at(self.ema, progress)
        torch.manual_seed((self.settings.seed * 1_000_003 + self.step) * 4096 + self.rank)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.amp):
            values = self.task.loss(self.model, batch, self.step)
        total = torch.stack([values[name] for name in sorted({n.partition("-")[0] for n in self.optimizers})]).sum()
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        self._share_gradients()
        factor = self.task.schedule(progress)
        finite = True
        for name, optimizer in self.optimizers.items():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            norm = nn.utils.clip_grad_norm_(parameters, self.settings.clip or math.inf)
            if not torch.isfinite(norm):
                finite = False
                continue  # one bad batch must not end a night's work; the log counts them, and many in a row do end it
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * factor
            optimizer.step()
        self.skipped = 0 if finite else self.skipped + 1
        if self.skipped >= SKIPPED_LIMIT:
            raise ValueError(
                f"{self.folder}: the loss was not finite for {self.skipped} steps; lower the learning rate"
            )
        self._average()
        return {
            **{k: float(v.detach()) for k, v in values.items()},
            "learning_rate_factor": factor,
            "skipped": float(not finite),
        }

    def _shared_values(self, values: dict[str, float]) -> dict[str, float]:
        """Means over the processes, each value over those that have it: the log is of the whole batch."""
        if self.world == 1:
            return values
        every: list[Any] = [None] * self.world
        dist.all_gather_object(every, values)
        names = dict.fromkeys(name for one in every for name in one)
        found = {name: [one[name] for one in every if name in one] for name in names}
        return {name: sum(numbers) / len(numbers) for name, numbers in found.items()}

    def _share_gradients(self) -> None:
        if self.world == 1:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])  # one message, not one a parameter
        dist.all_reduce(flat)
        for gradient, mean in zip(gradients, flat.div_(self.world).split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    @torch.no_grad()
    def _average(self) -> None:
        if self.ema is self.model:
            return
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        ours: list[Tensor] = list(self.ema.parameters())
        theirs: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)
        for mine, other in zip(self.ema.buffers(), self.model.buffers(), strict=True):
            mine.copy_(other)

    def _preview(self) -> None:
        self.ema.eval()
        with torch.no_grad():
            self.task.preview(self.ema, self.folder / "previews", self.step)
        self.ema.train()

    def _save(self) -> None:
        tensors = checkpoint.with_prefix("model", self.model.state_dict())
        if self.ema is not self.model:
            tensors |= checkpoint.with_prefix("ema", self.ema.state_dict())
        for name, optimizer in self.optimizers.items():
            tensors |= checkpoint.optimizer_tensors(name, optimizer)
        numbers = {
            "task": self.task.name,
            "step": self.step,
            "seconds": self.seconds,
            "settings": dataclasses.asdict(self.settings),
            "task_settings": self._task_settings(),
        }
        checkpoint.save(self.checkpoint, tensors, numbers)

    def _load(self) -> None:
        tensors, numbers = checkpoint.load(self.checkpoint)
        now = {"task": self.task.name, **self._task_settings(), **dataclasses.asdict(self.settings)}
        then = {"task": numbers["task"], **numbers["task_settings"], **numbers["settings"]}
        free = FREE | ({"minutes"} if self.settings.minutes is not None and then["steps"] is None else set())
        changed = [key for key in now if key not in free and now[key] != then.get(key)]
        if changed:
            told = "; ".join(f"{key} was {then.get(key)}, not {now[key]}" for key in changed[:3])
            raise ValueError(f"{self.checkpoint}: {told}; give the same, or name another folder")
        try:
            self.model.load_state_dict(checkpoint.without_prefix("model", tensors))
            if self.ema is not self.model:
                self.ema.load_state_dict(checkpoint.without_prefix("ema", tensors))
            for name, optimizer in self.optimizers.items():
                checkpoint.restore_optimizer(name, optimizer, tensors)
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{self.checkpoint}: does not fit this model ({str(error).splitlines()[0]}); name another folder"
            ) from None
        self.step, self.seconds = int(numbers["step"]), float(numbers["seconds"])

    def _task_settings(self) -> dict[str, Any]:
        return dict(json.loads(json.dumps(self.record.get("settings", {}), default=str)))


def to_device(batch: Any, device: torch.device) -> Any:
    """Tensors of a nested batch on the device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
