"""Every picture and clip of the input zoo: the rule for it, and what became of it.

    python -m benchmarks.input_zoo [--only pictures|clips]

Files are made in a temporary folder (tests/pipelines/zoo_pictures.py, zoo_clips.py). Where ffprobe is on PATH, frames
and times of clips that are read are compared with it. Exit code 1 where something is not as its rule says.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipelines.clips import read_clip
from pipelines.media import read_picture
from tests.pipelines.zoo_clips import CLIPS, agree, ffprobe_times
from tests.pipelines.zoo_pictures import PICTURES


def picture(path: Path, expected: Any) -> tuple[bool, str]:
    """(as it should be, what happened)."""
    found = read_picture(path)
    if isinstance(expected, str):
        return False, f"{found.shape[1]}x{found.shape[0]}, should be refused"
    wanted, worst = expected if isinstance(expected, tuple) else (expected, 0)
    if found.shape != wanted.shape:
        return False, f"{found.shape[1]}x{found.shape[0]}, not {wanted.shape[1]}x{wanted.shape[0]}"
    error = int(np.abs(found.astype(int) - wanted).max())
    return error <= worst, f"{found.shape[1]}x{found.shape[0]}, at most {error} from what was drawn"


def clip(path: Path, expected: Any) -> tuple[bool, str]:
    """The same of a clip."""
    frames = list(read_clip(path))
    sizes = {frame.shape[:2] for frame, _ in frames}
    said = f"{len(frames)} frames, {', '.join(f'{width}x{height}' for height, width in sizes)}"
    if isinstance(expected, str):
        return False, f"{said}, should be refused"
    right = expected[0] in (None, len(frames)) and sizes == {expected[1]}
    theirs = ffprobe_times(path)
    same = None if theirs is None else agree([time for _, time in frames], theirs)
    said += {None: "", True: "; frames and times as ffprobe's", False: "; NOT ffprobe's frames or times"}[same]
    return right and same is not False, said


def table(zoo: dict[str, Any], judge: Any, folder: Path) -> tuple[int, int]:
    """Print a row an entry; (entries, those that are not as they should be)."""
    wrong = 0
    print("| input | rule | what happened |\n|---|---|---|")
    for name, (rule, make) in zoo.items():
        path = folder / name
        expected = make(path)
        try:
            right, said = judge(path, expected)
        except (ValueError, OSError) as error:
            line = str(error).replace(f"{path}: ", "")
            right, said = isinstance(expected, str) and bool(re.search(expected, str(error))), f"refused: {line}"
        wrong += not right
        print(f"| {name} | {rule} | {'' if right else 'WRONG: '}{said.replace('|', '/')} |")
    return len(zoo), wrong


def main() -> int:
    """Print the tables and their sums."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("pictures", "clips"))
    only = parser.parse_args().only
    av.logging.set_level(None)
    sums = []
    for name, zoo, judge in (("pictures", PICTURES, picture), ("clips", CLIPS, clip)):
        if only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                count, wrong = table(zoo, judge, Path(folder))
            sums.append((f"{count} {name}: {count - wrong} as their rule says, {wrong} not", wrong))
            print()
    print("\n".join(line for line, _ in sums))
    return int(any(wrong for _, wrong in sums))


if __name__ == "__main__":
    sys.exit(main())
