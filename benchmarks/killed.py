"""Stages killed with `kill -9` at random moments and run again: the results are those of a run that nothing stopped.

    OMP_NUM_THREADS=1 python -m benchmarks.killed STAGE… | all -o runs/killed [--kills 50] [--items N] [--seed 0]

Stages: edges, encode (a folder), evaluate (jpeg, sa-icm-s and a small detector), train (--steps), network (a fit of
segments). Inputs are small drawings and the models tiny (benchmarks/kill_stages.py). Compared are all files and tensors
bit for bit, but for dates and measured seconds. A run begins as a copy of this process, which has imported everything:
before that nothing is written.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from benchmarks.kill_stages import STAGES, prepared, run
from benchmarks.killing import Killed, kill_often, warm_up, watched


def killed(name: str, folder: Path, kills: int, items: int | None = None, seed: int = 0) -> Killed:
    """One stage, whole and killed, below `folder`, which is made anew; prints a line."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stage, words = prepared(name, folder, items)
    out, began = folder / "out", time.monotonic()  # one place for all: its name may stand in what is written there

    def work() -> int:
        return run(words(out))

    def count() -> int:
        return stage.count(out)

    warm_up(work)
    shutil.rmtree(out)
    timeline = watched(work, count, stage.items)
    expected = stage.content(out)
    shutil.rmtree(out)
    found = kill_often(work, out, count, stage.items, lambda: stage.content(out), expected, timeline, kills, seed)
    verdict = "the same each time" if not found.differing else f"DIFFER: {', '.join(sorted(set(found.differing))[:5])}"
    print(f"{name}: {stage.items} items, {timeline.end:.1f} s uninterrupted ({timeline.first:.1f} to the first, "
          f"{timeline.end - timeline.last:.1f} after the last); {found.kills} kills: {found.before} before a run's "
          f"first item, {found.middle} between items, {found.after} after the last; {found.ends} ends compared, "
          f"{len(expected)} things each: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)  # fmt: skip
    return found


def main() -> int:
    """Exit code 0 if every stage ended as if nothing had happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES, "all"], metavar="STAGE")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="a folder for inputs and results")
    parser.add_argument("--kills", type=int, default=50, help="of each stage (default 50)")
    parser.add_argument("--items", type=int, help="pictures, streams, steps or segments (default: the stage's own)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chosen = list(STAGES) if "all" in arguments.stages else arguments.stages
    results = [killed(name, arguments.output.resolve() / name, arguments.kills, arguments.items, arguments.seed)
               for name in chosen]  # fmt: skip
    return 1 if any(found.differing for found in results) else 0


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    sys.exit(main())
