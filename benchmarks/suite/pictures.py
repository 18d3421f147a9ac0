"""One picture of 512×768, encoded and decoded by each codec in turn, in one process; for `make bench`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import CODECS, CompressAI, texture
from benchmarks.__main__ import measure as take_turns

REPEATS, SLOW_REPEATS = 5, 1


class Published:
    """LIC-TCM by its authors' code (SA-ICM's network), behind the interface of our codecs."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def encode(self, picture: np.ndarray) -> Any:
        """{"strings", "shape"} of (H, W, 3) uint8 whose sides are multiples of 128."""
        import torch

        with torch.inference_mode():
            return self.net.compress(torch.tensor(picture).permute(2, 0, 1)[None].float() / 255)

    def decode(self, coded: Any) -> Any:
        """(1, 3, H, W)."""
        import torch

        with torch.inference_mode():
            return self.net.decompress(coded["strings"], coded["shape"])["x_hat"]

    def size(self, coded: Any) -> None:
        """Weights are random: bytes mean nothing."""


def random_tcm(folder: Path) -> Any:
    """`sa-icm` of the published size with random weights."""
    import torch

    import icm

    torch.manual_seed(0)
    net = icm.build("tcm").eval()
    with torch.no_grad():  # latents and scales as wide as trained ones, so that the coder has its work
        net.g_a[-1].weight.mul_(8)
        for stack in net.charm.cc_scale_transforms:
            stack[-1].weight.mul_(2)
            stack[-1].bias.add_(0.15)
    net.export(folder / "tcm.safetensors")
    return icm.CODECS["sa-icm"](weights=folder / "tcm.safetensors")


def measure(folder: Path, theirs: Path | None) -> dict[str, Any]:
    """The table, seconds as ratios to `sa-icm-s`."""
    import torch

    from pipelines import codecs

    torch.set_num_threads(os.cpu_count() or 1)
    picture = texture()
    fast: dict[str, Any] = {spec: codecs.parse(spec) for spec in CODECS}
    fast["CompressAI mbt2018-mean"] = CompressAI()
    rows = take_turns(fast, picture, REPEATS)
    slow: dict[str, Any] = {"CompressAI cheng2020-anchor": CompressAI("cheng2020_anchor")}
    with tempfile.TemporaryDirectory() as scratch:
        slow["sa-icm (LIC-TCM, N = 128)"] = random_tcm(Path(scratch))
        if theirs is not None:
            from benchmarks.tcm import authors

            slow["LIC-TCM, its authors' code"] = Published(authors(theirs, 128, None))
        rows += take_turns(slow, picture, SLOW_REPEATS)
    ours = rows[0]
    made = [{
        "codec": row["codec"],
        "encode, s": f"{row['encode_s']:.3f}", "decode, s": f"{row['decode_s']:.3f}",
        "encode, processor s": f"{row['encode_cpu_s']:.3f}", "decode, processor s": f"{row['decode_cpu_s']:.3f}",
        f"{CODECS[0]} encodes": f"{row['encode_s'] / ours['encode_s']:.2f}×",
        "decodes": f"{row['decode_s'] / ours['decode_s']:.2f}×",
        "bpp": "" if row["rate_bpp"] is None or row["codec"].startswith("sa-icm (") else f"{row['rate_bpp']:.3f}",
    } for row in rows]  # fmt: skip
    notes = [f"A drawn texture, medians of {REPEATS} turns, of the slow ones {SLOW_REPEATS}, after one that is not "
             "counted. CompressAI's and LIC-TCM's weights are random, which changes no transform's time and spares "
             "CompressAI's entropy coder some. Last columns: how many times as fast `sa-icm-s` is."]  # fmt: skip
    if theirs is None:
        notes.append("LIC-TCM's authors' code was not there; SA-ICM's published model took 5.5 s and 5.8 s on two such "
                     "cores.")  # fmt: skip
    return {"title": "One picture, 512×768", "rows": made, "notes": notes}
