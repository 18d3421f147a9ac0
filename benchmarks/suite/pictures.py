"""One picture of 512×768, encoded and decoded by each codec in turn, in one process; for `make bench`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import tcm
from benchmarks.__main__ import CODECS, CompressAI, of_the_zoo, texture
from benchmarks.__main__ import measure as take_turns

REPEATS, SLOW_REPEATS = 5, 1


def random_tcm(folder: Path) -> Any:
    """`sa-icm` of the published size with random weights."""
    import torch

    import icm

    torch.manual_seed(0)
    net = icm.build("tcm").eval()
    with torch.no_grad():
        tcm.vary(net.g_a, net.charm.cc_scale_transforms)
    net.export(folder / "tcm.safetensors")
    return icm.CODECS["sa-icm"](weights=folder / "tcm.safetensors")


def measure(folder: Path, theirs: Path | None) -> dict[str, Any]:
    """The table, seconds as ratios to `sa-icm-s`."""
    import torch

    from pipelines import codecs

    torch.set_num_threads(os.cpu_count() or 1)
    picture = texture()
    slow: dict[str, Any] = {}
    fast: dict[str, Any] = {spec: codecs.parse(spec) for spec in CODECS}
    for model, among in (("mbt2018_mean", fast), ("cheng2020_anchor", slow)):
        peer = of_the_zoo(model)
        among[peer.name] = peer
    rows = take_turns(fast, picture, REPEATS)
    with tempfile.TemporaryDirectory() as scratch:
        slow["sa-icm (LIC-TCM, N = 128)"] = random_tcm(Path(scratch))
        if theirs is not None:
            peer = CompressAI(tcm.authors(theirs, 128, None), "LIC-TCM, its authors' code")
            slow[peer.name] = peer
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
