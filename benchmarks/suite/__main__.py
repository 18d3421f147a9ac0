"""Everything side by side in one run: seconds, memory, growth, as ratios to peers. `make bench` is this.

    python -m benchmarks.suite -o runs/bench [--only pictures growth …] [--theirs LIC_TCM] [--page docs/performance.md]

    each part ─▶ a process of its own ─▶ OUT/PART.json ─▶ OUT/performance.md (and the page that is named)

| part | what is measured, against |
|---|---|
| pictures | encode and decode of 512×768: LIC-TCM, two of CompressAI's networks, x265, SVT-AV1, JPEG, WebP |
| growth | `vcm encode` and `decode` of larger pictures, and of more of them: seconds, peak memory of the process |
| clip | `vcm encode` and `decode` of a clip: frames a second, memory at one length and at four times that; x265 |
| networks | a clip fitted as long by `sa-nerv` and `hnerv`: dB at equal bytes; frames a second of decoding |
| edges | a picture through SAM (ViT-B, random weights) by upstream's generator, exactly, and with shortcuts |
| evaluation | a point of `vcm evaluate` over a bare loop that decodes the same files and asks the same model |

Nothing else may run beside it. A part that is there is not measured again, unless OUT is another folder. Without
$VCM_SHARED the picture, the clip and the detector's pictures are drawn.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PARTS = ("pictures", "growth", "clip", "networks", "edges", "evaluation")
Part = dict[str, Any]


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown; columns are the keys of the first."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def page(parts: list[Part], facts: dict[str, Any]) -> str:
    """The whole as Markdown: what it was measured on, then a table a part."""
    hardware = facts["hardware"]
    gib = f", {hardware['memory_bytes'] / 2**30:.0f} GiB" if hardware.get("memory_bytes") else ""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items()
                         if name in ("torch", "compressai", "av", "segment-anything"))  # fmt: skip
    head = ["# Performance", "",
            "Written by `make bench` (`python -m benchmarks.suite`), part after part, nothing beside them; within a "
            "part ours and the others take turns. Seconds are of the wall clock unless they say otherwise. Ratios "
            "above 1 are for us, below 1 against us.", "",
            f"{facts['date_utc'][:10]}, {hardware['processor']}, {hardware['cores']} cores{gib}; {versions}; "
            f"commit {(facts['commit'] or 'unknown')[:9]}; {sum(part['seconds'] for part in parts) / 60:.1f} minutes.",
            ""]  # fmt: skip
    for part in parts:
        head += [f"## {part['title']}", "", table(part["rows"]), "", *(f"{note}\n" for note in part["notes"])]
    return "\n".join(head).rstrip() + "\n"


def measure(name: str, folder: Path, theirs: Path | None) -> None:
    """One part, in this process, which must be fresh."""
    start = time.perf_counter()
    part = importlib.import_module(f"benchmarks.suite.{name}").measure(folder, theirs)
    part["seconds"] = time.perf_counter() - start
    (folder / f"{name}.json").write_text(json.dumps(part, indent=1) + "\n")


def main() -> int:
    """Measure what is missing, write and print the page; 1 where a part failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/bench"))
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--theirs", type=Path, help="a checkout of github.com/jmliu206/LIC_TCM, to be measured too")
    parser.add_argument("--page", type=Path, help="write the page here too")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # of the processes that this one starts
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.part:
        measure(arguments.part, arguments.output, arguments.theirs)
        return 0

    from pipelines.run.provenance import provenance

    failed = 0
    for name in arguments.only:
        if not (arguments.output / f"{name}.json").exists():
            print(f"{name} …", file=sys.stderr, flush=True)
            words = ["--theirs", str(arguments.theirs)] if arguments.theirs else []
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.suite", "-o", str(arguments.output), *words]
            failed += subprocess.run([*command, "--part", name], check=False).returncode != 0
    parts = [json.loads(path.read_text()) for name in PARTS if (path := arguments.output / f"{name}.json").exists()]
    if parts:
        text = page(parts, provenance())
        for path in [arguments.output / "performance.md", *([arguments.page] if arguments.page else [])]:
            path.write_text(text)
        print(text)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
