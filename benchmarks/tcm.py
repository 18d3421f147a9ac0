"""LIC-TCM: this project's against its authors' code, same weights, in one process, turn by turn.

    python -m benchmarks.tcm --theirs LIC_TCM                    512x768, N = 128, all cores, random weights
    python -m benchmarks.tcm --theirs LIC_TCM --checkpoint mse_lambda_0.05.pth.tar --picture kodim01.png

LIC_TCM is a checkout of github.com/jmliu206/LIC_TCM; it needs `pip install einops` (timm's two functions are stood in
for where it is missing). Times are of compress and decompress, bytes of the strings, x_hat as decoded by each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import clocks, texture

MULTIPLE = 128


def authors(folder: Path, width: int, checkpoint: Path | None) -> Any:
    """Their network, with a checkpoint's weights or random ones whose scales and latents vary as trained ones do."""
    import torch

    if not (folder / "models" / "tcm.py").is_file():
        raise ValueError(f"{folder}: is no checkout of LIC_TCM: it has no models/tcm.py")
    try:
        import timm.models.layers  # noqa: F401
    except ImportError:
        layers: Any = types.ModuleType("timm.models.layers")
        layers.trunc_normal_, layers.DropPath = torch.nn.init.trunc_normal_, torch.nn.Identity
        for name in ("timm", "timm.models"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["timm.models.layers"] = layers
    sys.path.insert(0, str(folder))
    from models import TCM  # type: ignore[import-not-found]

    torch.manual_seed(0)
    net = TCM(N=width, M=320).eval()
    if checkpoint is not None:
        found = torch.load(checkpoint, map_location="cpu", weights_only=True)
        net.load_state_dict({k.replace("module.", ""): v for k, v in found.get("state_dict", found).items()})
    else:
        with torch.no_grad():
            vary(net.g_a, net.cc_scale_transforms)
    net.update(force=True)
    return net


def vary(g_a: Any, scale_transforms: Any) -> None:
    """Latents and scales of random weights as wide as trained ones', so that the coder has its work. Under no_grad."""
    g_a[-1].weight.mul_(8)
    for stack in scale_transforms:
        stack[-1].weight.mul_(2)
        stack[-1].bias.add_(0.15)


def ours(theirs: Any) -> Any:
    """Our coder with the same weights, by way of the converter."""
    import torch

    from icm.codecs.tcm.published import read_tcm

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs.pth.tar"
        torch.save({"state_dict": theirs.state_dict()}, path)
        return read_tcm(path).release().picture_coder()


def measure(contestants: dict[str, tuple[Any, Any]], x: Any, repeats: int) -> dict[str, dict[str, Any]]:
    """name → rows; a contestant is (compress, decompress); they take turns, the first of which is not counted."""
    rows: dict[str, dict[str, Any]] = {name: {} for name in contestants}
    times: dict[str, dict[str, list[float]]] = {name: {} for name in contestants}
    for turn in range(repeats + 1):
        for name, (compress, decompress) in contestants.items():
            marks = [clocks()]
            coded, size = compress(x)
            marks.append(clocks())
            rows[name] |= {"bytes": size, "x_hat": decompress(coded)}
            marks.append(clocks())
            for what, start, end in zip(("encode", "decode"), marks, marks[1:], strict=False):
                for unit in start if turn else ():
                    times[name].setdefault(f"{what}_{unit}", []).append(end[unit] - start[unit])
    for name, row in rows.items():
        row |= {what: statistics.median(seconds) for what, seconds in times[name].items()}
    return rows


def profile(function: Any, rows: int) -> str:
    """Where the time of a call goes, by operator."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as recorded

    with recorded(activities=[ProfilerActivity.CPU]) as found:
        function()
    return found.key_averages().table(sort_by="self_cpu_time_total", row_limit=rows, max_name_column_width=40)


def main() -> int:
    """Print the table and the profile; exit code 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--theirs", type=Path, required=True, help="a checkout of LIC_TCM")
    parser.add_argument("--checkpoint", type=Path, help="of theirs (default: random weights)")
    parser.add_argument("--width", type=int, default=128, help="N (default 128)")
    parser.add_argument("--picture", type=Path, help="what to code, cut to multiples of 128 (default: a drawn texture)")
    parser.add_argument("--size", default="512x768", help="of the texture, rows x columns (default 512x768)")
    parser.add_argument("--repeats", type=int, default=3, help="counted turns (default 3)")
    parser.add_argument("--threads", type=int, default=0, help="torch's threads (default: as torch chooses)")
    parser.add_argument("--profile", type=int, default=12, metavar="N", help="operators to list (default 12; 0: none)")
    parser.add_argument("-o", dest="output", type=Path, help="write rows and machine as JSON")
    arguments = parser.parse_args()

    import torch

    from pipelines.media import read_picture
    from pipelines.run.atomic import write_text
    from pipelines.run.provenance import provenance

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    height, width = map(int, arguments.size.split("x"))
    picture = read_picture(arguments.picture) if arguments.picture else texture(height, width)
    height, width = (side // MULTIPLE * MULTIPLE for side in picture.shape[:2])
    x = torch.tensor(np.ascontiguousarray(picture[:height, :width])).permute(2, 0, 1).float() / 255
    theirs = authors(arguments.theirs.resolve(), arguments.width, arguments.checkpoint)
    coder = ours(theirs)

    def compress(x: Any) -> tuple[Any, int]:
        with torch.no_grad():
            out = theirs.compress(x[None])
        return out, sum(len(string[0]) for string in out["strings"])

    def decompress(coded: Any) -> Any:
        with torch.no_grad():
            return theirs.decompress(coded["strings"], coded["shape"])["x_hat"][0]

    rows = measure({
        "theirs": (compress, decompress),
        "ours": (lambda x: (data := coder.compress(x), len(data)), lambda data: coder.decompress(data, height, width)),
    }, x, arguments.repeats)  # fmt: skip
    apart = (rows["theirs"].pop("x_hat") - rows["ours"].pop("x_hat")).abs()
    print(f"{height}x{width}, N = {arguments.width}, {torch.get_num_threads()} threads, median of {arguments.repeats}")
    for name, row in rows.items():
        shown = [f"{what} {row[f'{what}_s']:7.2f} s ({row[f'{what}_cpu_s']:7.2f} cpu)" for what in ("encode", "decode")]
        print(f"  {name:<8} {'   '.join(shown)}   {row['bytes']:,} bytes")
    for what in ("encode", "decode"):
        print(f"  {what}: {rows['theirs'][f'{what}_s'] / rows['ours'][f'{what}_s']:.2f} times as fast", end="")
        print(f" ({rows['theirs'][f'{what}_cpu_s'] / rows['ours'][f'{what}_cpu_s']:.2f} in processor time)")
    print(f"  x_hat: at most {float(apart.max()):.2e} apart, {float(apart.mean()):.2e} on average")
    if arguments.profile:
        data = coder.compress(x)
        for name, call in {
            "ours, encode": lambda: coder.compress(x), "ours, decode": lambda: coder.decompress(data, height, width)
        }.items():  # fmt: skip
            print(f"\n{name}\n{profile(call, arguments.profile)}")
    if arguments.output:
        found = {"rows": rows, "apart_max": float(apart.max()), "threads": torch.get_num_threads(), **provenance()}
        write_text(arguments.output, json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
