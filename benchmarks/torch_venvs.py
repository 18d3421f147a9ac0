"""Virtual environments with other versions of torch, and only what decoding needs beside it.

    python -m benchmarks.torch_venvs DIR [--torch 2.11.0 2.12.1 2.15.0]

One folder a version, `DIR/torch-VERSION`; those that are whole already are kept. Everything else has the version that
this environment has, so that torch alone differs. torchvision is left out: decoding imports none, and every torch wants
another one. About 5 GB each where pip takes torch with the libraries of a GPU.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

VERSIONS = ("2.11.0", "2.12.1", "2.15.0")  # the oldest that is supported, one between, the newest there is
BESIDE = ("numpy", "constriction", "safetensors", "opencv-python-headless", "google-crc32c")
PROBE = "import torch; print(torch.__version__)"


def python_of(folder: Path, version: str) -> Path:
    """The interpreter of a version's environment, made where it is not there yet. CalledProcessError: pip's."""
    home = folder / f"torch-{version}"
    python, whole = home / "bin" / "python", home / "whole"
    if not whole.exists():
        venv.create(home, with_pip=True, clear=True)
        beside = [f"{name}=={importlib.metadata.version(name)}" for name in BESIDE]
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"torch=={version}", *beside], check=True)
        found = subprocess.run([python, "-c", PROBE], check=True, capture_output=True, text=True).stdout.strip()
        whole.write_text(found + "\n")  # last: a folder without it was cut short
    return python


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", nargs="+", default=list(VERSIONS))
    arguments = parser.parse_args(argv)
    for version in arguments.torch:
        try:
            print(f"torch {version}: {python_of(arguments.folder.resolve(), version)}", flush=True)
        except subprocess.CalledProcessError as error:
            print(f"torch {version}: not made: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
