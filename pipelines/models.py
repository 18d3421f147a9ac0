"""`vcm models`: what can be encoded with, where its weights are, their licence and SHA-256."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from pipelines.run.provenance import sha256_file

NAME = "models"
HELP = "list what can be encoded with, where its weights are, and their licence"
EPILOG = """\
A .vcm file names its codec and the first 8 bytes of the SHA-256 of its weights; `vcm info FILE` shows them.

examples:
  vcm models
  vcm models --json
"""
OURS = "Apache-2.0"
PLACES = {"icm": "icm/weights", "nerv": "nerv/weights", "eval": "eval/weights"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm models`."""
    parser.add_argument("--json", action="store_true", help="print as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print codecs and shipped weights; exit code 0."""
    known = {"codecs": codecs(), "weights": weights()}
    if arguments.json:
        print(json.dumps(known, indent=2))
        return 0
    print("codecs (--codec NAME:QUALITY)")
    for codec in known["codecs"]:
        print(f"  {codec['name']:<14} {codec['kind']}")
    print("\nweights that are shipped")
    for file in known["weights"]:
        print(f"  {file['name']:<28} {file['bytes']:>10} bytes  {file['licence']}")
        print(f"    {file['path']}\n    sha256 {file['sha256']}")
        for key, value in file["card"].items():
            print(f"    {key}: {value}")
    if not known["weights"]:
        print("  none: train a codec with `vcm train` and name its file with --weights")
    return 0


def codecs() -> list[dict[str, Any]]:
    """Name and kind of every codec."""
    from pipelines.codecs import is_anchor, table

    return [{"name": name, "kind": "anchor, no weights" if is_anchor(name) else "ours"} for name in table()]


def weights() -> list[dict[str, Any]]:
    """The safetensors files in the packages' weights folders, with what their metadata say that fits one line."""
    from safetensors import safe_open

    found = []
    for place in PLACES.values():
        package, folder = place.split("/")
        root = Path(str(importlib.import_module(package).__file__)).parent / folder
        for path in sorted(root.glob("**/*.safetensors")) if root.is_dir() else []:
            with safe_open(str(path), "numpy") as file:
                card = {key: value for key, value in (file.metadata() or {}).items() if len(value) <= 100}
            found.append({
                "name": path.stem, "path": str(path), "bytes": path.stat().st_size, "sha256": sha256_file(path),
                "licence": card.pop("licence", OURS), "card": card,
            })  # fmt: skip
    return found
