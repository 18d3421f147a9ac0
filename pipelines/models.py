"""`vcm models`: what can be encoded with and measured with, where its weights are, their licence and hashes."""

from __future__ import annotations

import argparse
import importlib
import json
from itertools import groupby
from pathlib import Path
from typing import Any

from pipelines.run.provenance import sha256_file

NAME = "models"
HELP = "list codecs, task models and data sets, where weights are, and the licences"
EPILOG = """\
A .vcm file names its codec and the first 8 bytes of the SHA-256 of its weights and tables: the line "weights" here and
in `vcm info FILE`. "sha256 of the file" is of the file that holds them, as sha256sum prints it.

examples:
  vcm models
  vcm models --json
"""
OURS = "Apache-2.0"
WORDS = ("licence", "license")
PLACES = {"icm": "icm/weights", "nerv": "nerv/weights", "eval": "eval/weights"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm models`."""
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print codecs, task models, kinds of data sets and shipped weights; exit code 0."""
    known = {"codecs": codecs(), "task_models": task_models(), "datasets": datasets(), "weights": weights()}
    if arguments.json:
        print(json.dumps(known, indent=2))
        return 0
    print("codecs (--codec NAME:QUALITY)")
    for codec in known["codecs"]:
        print(f"  {codec['name']:<39} {codec['kind']}" + (f"; {codec['needs']}" if codec["needs"] else ""))
    print("\ntask models (vcm evaluate --model NAME)")
    for family, models in groupby(known["task_models"], key=lambda model: model["name"].rpartition(":")[0]):
        of = list(models)
        if family:
            print(f"  {family}:NAME, weights {of[0]['weights']}" + (f"; {of[0]['needs']}" if of[0]["needs"] else ""))
        for model in of:
            place = "" if family else f"; weights {model['weights']}"
            indent, name = "    " if family else "  ", model["name"].rpartition(":")[2]
            print(f"{indent}{name:<62} {', '.join(model['tasks'])}{place}".rstrip())
    print("  onnx:FILE.onnx, yolo:NAME, and whatever entry points add: docs/task-models.md")
    print("\ndata sets (vcm evaluate --dataset KIND)")
    for kind in known["datasets"]:
        print(f"  {kind['name']:<14} {kind['about']}")
    print("\nweights that are shipped")
    for file in known["weights"]:
        print(f"  {file['name']:<28} {file['bytes']:>10} bytes  {file['licence']}\n    {file['path']}")
        if file["weights_sha256_first8"]:
            print(f"    weights {file['weights_sha256_first8']}... (SHA-256 of weights and tables, as in `vcm info`)")
        print(f"    sha256 of the file {file['file_sha256']}")
        for key, value in file["card"].items():
            print(f"    {key}: {value}")
    if not known["weights"]:
        print("  none: train a codec with `vcm train` and name its file with --weights")
    return 0


def codecs() -> list[dict[str, Any]]:
    """Name and kind of every codec; `needs`: where its weights or programs come from, "" where it is complete."""
    import icm
    import nerv
    from eval.anchors.external import KINDS, whereabouts
    from pipelines.codecs import is_anchor, table, takes_weights

    found = []
    shipped = {path.stem for path in (Path(str(icm.__file__)).parent / "weights").glob("*.safetensors")}
    for name in table():
        kind, needs = "ours", "" if name in shipped or name not in icm.CODECS else "--weights, by vcm convert or train"
        if name in nerv.CODECS:
            kind, needs = "video network", "fitted to a clip by vcm encode"
        elif name in KINDS:
            kind, needs = "anchor, a program of its own", whereabouts(name)
        elif is_anchor(name) and takes_weights(name):
            kind, needs = "anchor, of CompressAI's zoo", "weights fetched, or by --weights NAME=FILE"
        elif is_anchor(name):
            kind = "anchor, no weights"
        found.append({"name": name, "kind": kind, "needs": needs})
    return found


def task_models() -> list[dict[str, Any]]:
    """Name, tasks, whereabouts of the weights of every task model known beforehand; `needs`: what is not installed.

    Entry points are listed, not loaded: they are other people's code, and say their tasks when they are used.
    """
    from eval.models import FAMILIES, MODELS, build, names
    from eval.models.weights import SHIPPED

    found = []
    for name in names():
        tasks: list[str] = []
        needs = ""
        if name in MODELS or name.partition(":")[0] in FAMILIES:
            try:
                tasks = list(build(name).tasks)
            except ImportError as error:
                needs = str(error).removeprefix(name).strip()
        shipped = (SHIPPED / f"{name}.safetensors").is_file()
        found.append({"name": name, "tasks": tasks, "needs": needs,
                      "weights": "shipped" if shipped else "fetched, or by --model-weights"})  # fmt: skip
    return found


def datasets() -> list[dict[str, str]]:
    """Every kind of data set, and what its module says it reads."""
    from eval.datasets import DATASETS

    about = {name: (importlib.import_module(loader.__module__).__doc__ or "") for name, loader in DATASETS.items()}
    return [{"name": name, "about": text.strip().partition("\n")[0]} for name, text in about.items()]


def weights() -> list[dict[str, Any]]:
    """The safetensors files in the packages' weights folders, with what their metadata say that fits one line.

    weights_sha256_first8: what streams carry, "" for weights that never make one; file_sha256: of the file as it is.
    """
    from safetensors import safe_open

    found = []
    for place in PLACES.values():
        package, folder = place.split("/")
        root = Path(str(importlib.import_module(package).__file__)).parent / folder
        for path in sorted(root.glob("**/*.safetensors")) if root.is_dir() else []:
            with safe_open(str(path), "numpy") as file:
                card = {key: value for key, value in (file.metadata() or {}).items() if len(value) <= 100}
            found.append({
                "name": path.stem, "path": str(path), "bytes": path.stat().st_size, "licence": licence(path, card),
                "weights_sha256_first8": card.pop("sha256", "")[:16], "file_sha256": sha256_file(path), "card": card,
            })  # fmt: skip
    return found


def licence(path: Path, metadata: dict[str, str]) -> str:
    """What the metadata say, taken out of them, else the card beside the file, else that of the project."""
    try:
        card = json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        card = {}
    said = [metadata.pop(word, None) for word in WORDS] + [card.get(word) for word in WORDS if isinstance(card, dict)]
    return next((text for text in said if isinstance(text, str) and text), OURS)
