"""What `vcm evaluate` is asked for: settings from YAML and options, checked before anything is coded."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
from os.path import abspath
from pathlib import Path
from typing import Any

CEILING = "uncompressed"
PSEUDO = 0.5  # default score from which what a model finds counts as a label


@dataclass(frozen=True)
class Settings:
    """A configuration: what `vcm evaluate CONFIG.yaml` reads, and what a run writes as config.yaml."""

    images: str
    codecs: list[str]  # NAME:q1,q2 or, with match, the NAME of an anchor
    annotations: str | None = None  # labels, as the data set's loader takes them
    dataset: str | None = None  # a name of eval.datasets; by default coco with annotations, folder without
    tasks: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)  # names of eval.models
    model_weights: dict[str, str] = field(default_factory=dict)  # model -> its weights
    protocol: str | None = None  # None: what the weights say of themselves
    pseudo_labels: float | None = None  # the score from which a model's own predictions are its labels
    weights: dict[str, str] = field(default_factory=dict)  # codec name -> its weights
    match: str | None = None  # the codec whose rates the anchors without qualities take
    limit: int | None = None  # pictures
    batch: int = 1
    samples: int = 2
    seed: int = 0


def read_settings(arguments: argparse.Namespace) -> Settings:
    """The configuration file's settings with the options given on top; ValueError in one line."""
    from pipelines.codecs import split
    from pipelines.run.settings import build, read_yaml

    values = _modern(read_yaml(arguments.config)) if arguments.config is not None else {}
    for each in dataclasses.fields(Settings):
        given = getattr(arguments, each.name)
        if given is not None and each.name not in ("tasks", "weights", "model_weights"):
            values[each.name] = given
    if arguments.tasks is not None:
        values["tasks"] = [task for word in arguments.tasks for task in word.split(",")]
    for needed, option in (("images", "--images"), ("codecs", "--codec")):
        if not values.get(needed):
            raise ValueError(f"nothing to evaluate: give {option}, or a CONFIG.yaml with {needed}")
    if arguments.weights is not None:
        values["weights"] = named(arguments.weights, ours([split(spec)[0] for spec in values["codecs"]]))
    if arguments.model_weights is not None:
        models = values.get("models") or []
        values["model_weights"] = named(arguments.model_weights, models)
        if len(models) > 1 and any("=" not in word for word in arguments.model_weights):
            raise ValueError(f"--model-weights {arguments.model_weights[0]}: whose? write MODEL=FILE, as there are "
                             f"{len(models)} models")  # fmt: skip
    return build(Settings, values, str(arguments.config or "vcm evaluate"))


def _modern(values: dict[str, Any]) -> dict[str, Any]:
    """Runs before several models were possible said `model: NAME` and `model_weights: FILE`."""
    model = values.pop("model", None)
    if isinstance(model, str):
        values["models"] = [model]
    if isinstance(values.get("model_weights"), str):
        values["model_weights"] = dict.fromkeys(values.get("models", []), values["model_weights"])
    return values


def named(words: list[str], everyone: list[str]) -> dict[str, str]:
    """{name: path} of words NAME=PATH; a PATH alone is everyone's."""
    pairs = [word.rpartition("=")[::2] if "=" in word else ("", word) for word in words]
    return {name: path for key, path in pairs for name in ([key] if key else everyone)}


def absolute(settings: Settings) -> Settings:
    """The same with absolute paths, so that config.yaml means the same from every folder; names stay names."""
    from eval.datasets import split_annotations

    labels = settings.annotations
    if labels is not None:
        labels = ",".join(abspath(part) for part in split_annotations(labels))
    weights = dict(settings.weights)
    if weights:
        from icm.codecs.release import find  # not sooner: it imports torch

        for codec, value in settings.weights.items():
            if find(value) == Path(value) if codec in ours([codec]) else value != "random":
                weights[codec] = abspath(value)
    return dataclasses.replace(
        settings, images=abspath(settings.images), annotations=labels, weights=weights,
        models=[_absolute_model(name) for name in settings.models],
        model_weights={_absolute_model(name): abspath(path) for name, path in settings.model_weights.items()},
    )  # fmt: skip


def _absolute_model(name: str) -> str:
    """FAMILY:FILE with the file's absolute path; other names as they are."""
    family, sign, rest = name.partition(":")
    return f"{family}:{abspath(rest)}" if sign and Path(rest).is_file() else name


def plan_codecs(settings: Settings) -> list[tuple[str, list[float]]]:
    """(codec name, qualities) in order, the ceiling first; no qualities: an anchor at matched rates."""
    from pipelines.codecs import is_anchor, split, takes_weights

    plan: dict[str, list[float]] = {CEILING: [0.0]}
    for spec in settings.codecs:
        name, qualities = split(spec)
        if name == CEILING:
            continue
        if not qualities and (settings.match is None or not is_anchor(name)):
            advice = " or --match CODEC" if is_anchor(name) else ""
            raise ValueError(f"--codec {spec}: give qualities, as in {name}:20,40{advice}")
        known = plan.setdefault(name, [])
        known += [quality for quality in qualities if quality not in known]
    if settings.match is not None and not plan.get(split(settings.match)[0]):
        raise ValueError(f"--match {settings.match}: give it qualities too, as in --codec {settings.match}:20,40")
    unknown = [name for name in settings.weights if name not in plan or not takes_weights(name)]
    if unknown:
        raise ValueError(f"--weights {unknown[0]}=...: no codec of that name, with weights, is evaluated")
    return list(plan.items())


def check_tasks(settings: Settings, labelled: tuple[str, ...]) -> None:
    """ValueError where tasks, labels and models do not fit together. labelled: the tasks that the labels can score."""
    from eval.metrics.scores import PRIMARY

    scored = [task for task in settings.tasks if task != "fidelity"]
    for task in settings.tasks:
        if task not in PRIMARY:
            raise ValueError(f"--task {task}: unknown; known: {', '.join(PRIMARY)}")
    if scored and not settings.models:
        raise ValueError("--task needs --model; see `vcm models`")
    if settings.pseudo_labels is not None:
        if settings.annotations is not None:
            raise ValueError("--pseudo-labels: there are --annotations; give one of them")
        if not scored:
            raise ValueError(f"--pseudo-labels needs --task; choose from {', '.join(PRIMARY)}")
        if not 0 <= settings.pseudo_labels <= 1:
            raise ValueError(f"--pseudo-labels {settings.pseudo_labels:g}: a score from 0 to 1 is needed")
        return
    labels = [task for task in labelled if task != "fidelity"]
    if scored and not labels:
        raise ValueError("--task needs labels: give --annotations, or --pseudo-labels to take a model's own")
    for task in scored:
        if task not in labels:
            raise ValueError(f"--task {task}: the labels are for {', '.join(labels)} only")
    if labels and not settings.tasks:
        raise ValueError(f"--annotations were given without --task; choose from {', '.join(labels)}")
    unknown = set(settings.model_weights) - set(settings.models)
    if unknown:
        raise ValueError(f"--model-weights {min(unknown)}=...: no --model of that name")


def ours(names: list[str]) -> list[str]:
    """Those codecs that are ours, which a FILE without a name is for."""
    from pipelines.codecs import is_anchor

    return [name for name in names if not is_anchor(name)]


def yaml_of(settings: Settings) -> str:
    """config.yaml: what differs from nothing."""
    import yaml

    values = {k: v for k, v in dataclasses.asdict(settings).items() if v not in (None, [], {})}
    return yaml.safe_dump(values, sort_keys=False)
