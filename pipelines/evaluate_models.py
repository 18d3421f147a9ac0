"""The task models of an evaluation: built, each with the tasks that it does of those asked, and with its protocol.

A model that `vcm finetune` made says in its weights on what: the record's protocol follows the file, never a wish.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from eval.datasets import Dataset
from pipelines.codecs import split
from pipelines.evaluate_data import categories_of
from pipelines.evaluate_plan import CEILING, Settings
from pipelines.passes import ask
from pipelines.tested import Tested, hash_files

TUNED = "vcm.fine-tuned"  # the key of a weights file's metadata that says on what it was tuned, as JSON


def tested_models(settings: Settings, dataset: Dataset) -> tuple[Tested, ...]:
    """The models in the order given; ValueError, one line, where one does nothing of what is asked, or is not known."""
    from eval.models import build

    tasks = [task for task in settings.tasks if task != "fidelity"]
    if "tracking" in tasks and not dataset.sequences:
        raise ValueError(f"--task tracking: {dataset.name} has no sequences; give a clip, or a data set of clips")
    found: list[Tested] = []
    for spec in settings.models if tasks else []:
        weights = settings.model_weights.get(spec)
        model = build(spec, weights=weights)
        does = {*model.tasks, *(["tracking"] if "detection" in model.tasks else [])}  # detections are linked to tracks
        chosen = tuple(task for task in tasks if task in does)
        if not chosen:
            raise ValueError(f"--task {','.join(tasks)}: {spec} does {', '.join(model.tasks)} only")
        if any(model.name == other.name for other in found):
            raise ValueError(f"--model {spec}: is there twice; give other weights of it a run of their own")
        protocol = _protocol(settings, spec, weights)
        found.append(Tested(ask(model, chosen), chosen, _hash(model, spec, weights), protocol, spec, weights))
    for task in tasks:
        if not any(task in tested.tasks for tested in found):
            raise ValueError(f"--task {task}: no --model here does it; see `vcm models`")
    for line in dict.fromkeys(line for tested in found for line in _warnings(tested, dataset)):
        print(f"warning: {line}", file=sys.stderr)
    return tuple(found)


def tuned_on(weights: str | Path | None) -> dict[str, Any] | None:
    """What `vcm finetune` noted in a weights file; None where it is another's."""
    if weights is None or not str(weights).endswith(".safetensors"):
        return None
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(weights), "pt") as file:
            note = (file.metadata() or {}).get(TUNED)
    except FileNotFoundError:
        raise ValueError(f"{weights}: no such weights; name a .safetensors file") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{weights}: not readable as safetensors ({' '.join(str(error).split())})") from None
    try:
        return None if note is None else dict(json.loads(note))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{weights}: what it says of its fine-tuning is damaged ({error})") from None


def prove(tested: Iterable[Tested]) -> None:
    """Let every model look at a grey picture: wrong weights are told now, not after hours of encoding."""
    for each in tested:
        each.model.predict([np.full((64, 64, 3), 128, np.uint8)])


def about(tested: Iterable[Tested]) -> list[dict[str, Any]]:
    """What run.json says of the models."""
    return [{"name": each.name, "tasks": each.tasks, "weights_sha256": each.hash, "protocol": each.protocol,
             "fine_tuned_on": tuned_on(each.weights)} for each in tested]  # fmt: skip


def warn_of_training(tested: Iterable[Tested], content: str) -> None:
    """One line where a model was fine-tuned on the very pictures that it is now measured on."""
    for each in tested:
        if (tuned_on(each.weights) or {}).get("content") == content:
            print(f"warning: {each.name} was fine-tuned on these very pictures; measure it on others", file=sys.stderr)


def _protocol(settings: Settings, spec: str, weights: str | None) -> str:
    tuned = tuned_on(weights)
    if settings.protocol == "fine-tuned" and tuned is None:
        raise ValueError(f"--protocol fine-tuned: {weights or f'the weights of {spec}'}: does not say that it was "
                         "tuned on decoded pictures; `vcm finetune` makes such weights")  # fmt: skip
    if settings.protocol == "frozen" and tuned is not None:
        raise ValueError(f"--protocol frozen: {weights}: was fine-tuned on pictures of {', '.join(tuned['codecs'])}")
    if tuned is not None and settings.pseudo_labels is not None:
        raise ValueError(f"--pseudo-labels: {weights}: was fine-tuned on decoded pictures; take frozen weights")
    if tuned is not None:
        measured = {split(codec)[0] for codec in settings.codecs} - {CEILING}
        others = measured - {split(codec)[0] for codec in tuned["codecs"]}
        if others:
            print(f"warning: {spec} was fine-tuned on pictures of {', '.join(tuned['codecs'])}, not of "
                  f"{', '.join(sorted(others))}", file=sys.stderr)  # fmt: skip
        return "fine-tuned"
    return "frozen" if settings.pseudo_labels is None else "pseudo-labels"


def _hash(model: Any, spec: str, weights: str | None) -> str:
    """SHA-256 of the model's files as far as they are known before it is loaded, else ""."""
    from eval.models.weights import SHIPPED

    named = [Path(path) for path in (weights, spec.partition(":")[2]) if path]
    return hash_files(getattr(model, "files", ()) or named or [SHIPPED / f"{spec}.safetensors"])


def _warnings(tested: Tested, dataset: Dataset) -> list[str]:
    from eval.models.labels import mismatch

    if tested.protocol == "pseudo-labels":
        return []
    return [line for task in tested.tasks for line in mismatch(tested.model, categories_of(dataset, task))]
