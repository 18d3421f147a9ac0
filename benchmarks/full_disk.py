"""Stages of `vcm` on a disk that is full: a small file system in memory, with ever less room left in it.

    OMP_NUM_THREADS=1 python -m benchmarks.full_disk STAGE… | all -o /mnt/small [--steps 10]      (as root: it mounts)

A tmpfs is mounted at the folder of -o, which is made, and unmounted at the end. Stages: those of
benchmarks/kill_stages.py, and decode, picture (one file in, one file out) and report. For --steps amounts of room, from
none to what a whole run takes, the stage must end with a code that is not 0 and one line that names a file there and
the bytes; nothing temporary stays; what was there before is there still (a file: the old one; a folder: what the stage
goes on from); and with room again, the same command makes what a run without faults makes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults import told_well
from benchmarks.kill_stages import STAGES, Content, evaluated, files, prepared, run
from benchmarks.killing import Forked, Work, to_the_end, warm_up

PAGE = 4096
MIB = 64
Made = tuple[Callable[[Path], list[str]], Callable[[Path], Content]]


def of_stage(name: str, folder: Path) -> Made:
    """Command and content of a stage, with few items; it goes on from what an earlier run left."""
    stage, words = prepared(name, folder, {"evaluate": 10, "network": 1}.get(name, 5))
    return words, stage.content


def decode(folder: Path) -> Made:
    """A folder of files of ours back to pictures."""
    words, _ = of_stage("encode", folder)
    to_the_end(lambda: run(words(folder / "coded")))
    return lambda out: ["decode", f"{folder}/coded", "-o", str(out), "--resume"], files


def picture(folder: Path) -> Made:
    """One picture to one file, over an older one of that name."""
    of_stage("encode", folder)
    source = next((folder / "images").glob("*.png"))
    return lambda out: ["encode", str(source), "-o", str(out / "a.vcm"), "--codec", "sa-icm-s:95"], files


def report(folder: Path) -> Made:
    """The page of a run; plots have no dates in them, and the page none of its own."""
    words, _ = of_stage("evaluate", folder)
    to_the_end(lambda: run(words(folder / "run")))
    evaluated(folder / "run")
    return lambda out: ["report", str(folder / "run"), "-o", str(out / "r.html"), "--resamples", "20"], files


MORE = {"decode": decode, "picture": picture, "report": report}


def fill(disk: Path, room: int) -> Path:
    """Leave `room` bytes of the disk free; the file that takes the rest."""
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * PAGE
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(PAGE, free - room))
    return ballast


def before(out: Path) -> Content:
    """What a run must not lose, whatever befalls it: files that are whole, by content."""
    names = ("a.vcm", "checkpoint.safetensors", "manifest.jsonl", "records.jsonl", "r.html")
    return {name: value for name, value in (files(out) if out.exists() else {}).items() if Path(name).name in names}


def tried(work: Work, content: Callable[[Path], Content], out: Path, disk: Path, room: int, expected: Content) -> str:
    """One amount of room, from an output that is empty: what did not hold; "enough" where the run succeeded."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    (out / "a.vcm").write_bytes(b"old") if "a.vcm" in expected else None
    held, ballast = before(out), fill(disk, room)
    process = Forked(work)
    process.wait()
    if process.code == 0:
        ballast.unlink()
        return "enough" if content(out) == expected else "exit code 0, and the output is another"
    wrong = told_well(process, out, amount=True)
    now = before(out)
    lost = [name for name in held if name not in now or (held[name] != now[name] and name == "a.vcm")]
    ballast.unlink()
    if lost or wrong:
        return f"lost {lost}" if lost else wrong
    to_the_end(work)
    return "" if content(out) == expected else "differs when run again"


def stage(name: str, disk: Path, steps: int) -> int:
    """All amounts of room; how many did not hold."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        words, content = MORE[name](Path(place)) if name in MORE else of_stage(name, Path(place))
        out = disk / "out"

        def work() -> int:
            return run(words(out))

        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        free = os.statvfs(disk).f_bavail * PAGE
        warm_up(work)
        expected, needed = content(out), free - os.statvfs(disk).f_bavail * PAGE
        told, enough, wrong = 0, 0, []
        rooms = sorted({i * needed // steps // PAGE * PAGE for i in range(steps)})
        for room in rooms:
            result = tried(work, content, out, disk, room, expected)
            told, enough = told + (not result), enough + (result == "enough")
            if result not in ("", "enough"):
                wrong.append(f"{name}, {room} bytes of room: {result}")
        shutil.rmtree(out)
    print("".join(f"{line}\n" for line in wrong), end="")
    print(f"{name}: takes {needed:,} bytes; {len(rooms)} amounts of room from 0: {told} told as promised and made "
          f"whole afterwards, {enough} were enough, {len(wrong)} not as promised ({time.monotonic() - began:.0f} s)",
          flush=True)  # fmt: skip
    return len(wrong)


def main() -> int:
    """Exit code 0 if all held; 2 where it may not mount."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*STAGES, *MORE]
    parser.add_argument("stages", nargs="+", choices=[*known, "all"], metavar="STAGE")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="a folder to mount at")
    parser.add_argument("--steps", type=int, default=10, help="amounts of room a stage (default 10)")
    arguments = parser.parse_args()
    disk = arguments.output.resolve()
    if os.geteuid():
        print(f"{disk}: only root may mount; benchmarks/faults.py needs no mount", file=sys.stderr)
        return 2
    disk.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MIB}m", "tmpfs", str(disk)], check=True)
    try:
        print(f"a tmpfs of {MIB} MiB is mounted at {disk}", flush=True)
        chosen = known if "all" in arguments.stages else arguments.stages
        return int(sum(stage(name, disk, arguments.steps) for name in chosen) > 0)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    sys.exit(main())
