"""Are symbols and pixels the same whatever the threads, batch, layout, kernels, precision modes, and version of torch?

    python -m benchmarks.portability [PICTURES] [--limit 64] [--side 256] [--streams DIR] [--cells NAME ...]
                                     [--torch 2.11.0 2.12.1 2.15.0 --venvs DIR] [-o ROWS.json]

Streams of every codec that claims portability are made once (streams.py), with one thread. Each cell then decodes all
of them (cell.py), those with other environments in a process each. A stream's symbols are identical where every table
index and every symbol is; pixels are compared sample by sample. With --streams the streams are kept, with -o the rows:
the same command goes on where it was ended. Exit code 1 where a symbol differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.portability.streams import SIDE

ROOT = Path(__file__).resolve().parents[2]
# name: (mode of cell.py, environment)
CELLS: dict[str, tuple[str, dict[str, str]]] = {
    "1 thread (again)": ("plain", {}),
    "2 threads": ("plain", {"OMP_NUM_THREADS": "2"}),
    "batch 8": ("batch", {}),
    "channels_last": ("channels_last", {}),
    "rows first": ("rows_first", {}),
    "without oneDNN": ("no-onednn", {}),
    "autocast bfloat16": ("autocast", {}),
    "matmul precision 'medium'": ("medium", {}),
    "fp32_precision 'bf16'": ("bf16", {}),
    "ONEDNN_DEFAULT_FPMATH_MODE=BF16": ("plain", {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}),
    "ONEDNN_MAX_CPU_ISA=SSE41": ("plain", {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "ONEDNN_MAX_CPU_ISA=AVX2": ("plain", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "ATEN_CPU_CAPABILITY=default": ("plain", {"ATEN_CPU_CAPABILITY": "default"}),
    "ATEN_CPU_CAPABILITY=avx2": ("plain", {"ATEN_CPU_CAPABILITY": "avx2"}),
}
GPU = {"CPU to GPU": ("cuda", dict[str, str]())}
SET_BY_CELLS = ("ONEDNN", "DNNL", "ATEN", "OMP", "MKL")


def decoded(python: Path | str, folder: Path, modes: Sequence[str], extra: dict[str, str], make: bool = False) -> Any:
    """{mode: what cell.py prints}, all in one fresh process with this environment."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(SET_BY_CELLS)}
    env = {**plain, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **extra}
    command = [str(python), "-W", "ignore", "-m", "benchmarks.portability.cell", str(folder), "--modes", *modes]
    done = subprocess.run([*command, *(["--make"] if make else [])], env=env, cwd=ROOT, capture_output=True, text=True)
    found = {row["mode"]: row for row in map(json.loads, done.stdout.splitlines())}
    last = f"ended with {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}"
    return {name: found.get(name, {"torch": "?", "streams": {}, "error": last}) for name in modes}


def compared(reference: dict[str, Any], found: dict[str, Any], codecs: dict[str, str]) -> dict[str, dict[str, Any]]:
    """By codec: streams, those with other symbols, samples that differ and by how much at most, errors."""
    rows: dict[str, dict[str, Any]] = {}
    for name, right in reference["streams"].items():
        row = rows.setdefault(codecs[name], {"streams": 0, "other": 0, "differ": 0, "samples": 0, "most": 0})
        got = found["streams"].get(name, {"error": found.get("error", "not decoded")})
        row["streams"] += 1
        row["other"] += "error" in got or got["symbols"] != right["symbols"]
        if "error" in got:
            row["error"] = got["error"]
            continue
        row["differ"] += got["differ"]
        row["samples"] += got["samples"]
        row["most"] = max(row["most"], got["most"])
    return rows


def unique(values: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """In order."""
    return [value for i, value in enumerate(values) if value not in values[:i]]


def told(name: str, rows: dict[str, dict[str, Any]]) -> str:
    """The lines of a cell."""
    lines = []
    for codec, row in rows.items():
        share = row["differ"] / max(row["samples"], 1)
        line = (f"{name:<44} {codec:<22} symbols of {row['streams'] - row['other']} of {row['streams']} identical; "
                f"pixels {100 * share:.5f} % of samples differ, by {row['most']} at most")  # fmt: skip
        lines.append(line + (f"   {row['error']}" if "error" in row else ""))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--limit", type=int, default=64, help="how many pictures (default 64)")
    parser.add_argument("--side", type=int, default=SIDE, help=f"of the pictures' middle (default {SIDE})")
    parser.add_argument("--streams", type=Path, help="keep the streams here, and take them from here")
    parser.add_argument("--torch", nargs="+", default=[], help="other versions, each with every cell")
    parser.add_argument("--venvs", type=Path, help="where their environments are, or are made (torch_venvs.py)")
    parser.add_argument("--cells", nargs="+", choices=[*CELLS, *GPU], metavar="NAME", help="these alone")
    parser.add_argument("-o", dest="output", type=Path, help="rows so far, as JSON")
    arguments = parser.parse_args(argv)
    if arguments.torch and not arguments.venvs:
        parser.error("--torch needs --venvs, a folder for their environments")
    with tempfile.TemporaryDirectory() as name:
        return matrix(arguments, (arguments.streams or Path(name) / "streams").resolve())


def matrix(arguments: argparse.Namespace, folder: Path) -> int:
    """Every cell of every version; exit code 1 where a symbol differs."""
    import torch

    from benchmarks.portability.streams import make, middle
    from benchmarks.torch_venvs import python_of
    from pipelines.media import list_pictures, read_picture
    from pipelines.run.atomic import write_text

    if not (folder / "manifest.json").exists():
        paths = list_pictures(arguments.pictures)[: arguments.limit]
        make(folder, [middle(read_picture(path), arguments.side) for path in paths], arguments.side)
    codecs = {name: about["codec"] for name, about in json.loads((folder / "manifest.json").read_text()).items()}
    kept = arguments.output
    rows = json.loads(kept.read_text()) if kept and kept.exists() else {}
    known = {"": Path(sys.executable), **{v: python_of(arguments.venvs.resolve(), v) for v in arguments.torch}}
    cells = {**CELLS, **(GPU if torch.cuda.is_available() else {})}
    reference = decoded(sys.executable, folder, ["plain"], {}, make=True)["plain"]
    print(f"{len(codecs)} streams, pictures of at most {arguments.side}x{arguments.side}, against torch "
          f"{reference['torch']} with 1 thread; {'a GPU' if torch.cuda.is_available() else 'no GPU'} here",
          flush=True)  # fmt: skip
    for version, python in known.items():
        prefix = f"torch {version or torch.__version__.partition('+')[0]}, "
        asked = {name: cell for name, cell in cells.items() if not arguments.cells or name in arguments.cells}
        for extra in unique([extra for _, extra in asked.values()]):
            alike = {name: mode for name, (mode, its) in asked.items() if its == extra and prefix + name not in rows}
            found = decoded(python, folder, list(alike.values()), extra) if alike else {}
            rows |= {prefix + name: compared(reference, found[mode], codecs) for name, mode in alike.items()}
            if kept:
                write_text(kept, json.dumps(rows, indent=1))
            for name in alike:
                print(told(prefix + name, rows[prefix + name]), flush=True)
    wrong = sum(row["other"] for found in rows.values() for row in found.values())
    count = sum(row["streams"] for found in rows.values() for row in found.values())
    most = max(row["most"] for found in rows.values() for row in found.values())
    shares = [row["differ"] / max(row["samples"], 1) for found in rows.values() for row in found.values()]
    print(f"{len(rows)} cells, {count} decodes: {wrong} with other symbols; pixels: at most "
          f"{100 * max(shares):.5f} % of a codec's samples in a cell, by {most}/255 at most")  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
