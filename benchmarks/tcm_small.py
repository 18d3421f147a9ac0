"""The small LIC-TCM, trained and measured in files: its PSNR beside JPEG's at the same rate, payload beside estimate.

    python -m benchmarks.tcm_small -o runs/tcm-small [--minutes 20 | --steps 2000] [--pictures N] [settings.KEY=VALUE …]
    python -m benchmarks.tcm_small -o runs/icm-93 --weights icm-93.safetensors

    vcm train ─▶ weights ─▶ coco128 val: files ─▶ bpp, PSNR ─▶ rows.jsonl, table

Rate: bytes of the files, all pictures together; PSNR: mean over pictures, decoded from the files; JPEG's is
interpolated. What is there is not made again: ended anywhere, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_pictures import vcm

JPEG = (1, 2, 5, 10, 15, 20, 30, 40, 60)


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Of (H, W, 3) uint8."""
    return float(10 * np.log10(255**2 / max(np.mean((a.astype(np.float64) - b) ** 2), 1e-9)))


def measure(codec: Any, model: Any, path: Path, folder: Path) -> dict[str, Any]:
    """One picture through a file, and through JPEG's."""
    import torch

    from icm.bitstream import read
    from pipelines import codecs
    from pipelines.media import read_picture

    picture = read_picture(path)
    file = folder / f"{path.stem}.vcm"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(codec.encode(picture))
    with read(file) as stream:
        payload = sum(stream.lengths)
    with torch.no_grad():
        likelihoods = model(torch.tensor(picture).permute(2, 0, 1)[None].float() / 255)["likelihoods"]
    jpeg = []
    for quality in JPEG:
        other = codecs.parse(f"jpeg:{quality}")
        data = other.encode(picture)
        jpeg.append((len(data), psnr_db(picture, other.decode(data))))
    return {
        "name": path.name, "pixels": picture.shape[0] * picture.shape[1], "bytes": file.stat().st_size,
        "payload": payload, "estimated": -sum(float(p.log2().sum()) for p in likelihoods.values()) / 8,
        "psnr_db": psnr_db(picture, codec.decode(file)), "jpeg": jpeg,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Lines for reading."""
    pixels = sum(row["pixels"] for row in rows)
    total = {key: sum(row[key] for row in rows) for key in ("bytes", "payload", "estimated")}
    bpp = 8 * total["bytes"] / pixels
    curve = [(8 * sum(row["jpeg"][i][0] for row in rows) / pixels, np.mean([row["jpeg"][i][1] for row in rows]))
             for i in range(len(JPEG))]  # fmt: skip
    inside = curve[0][0] <= bpp <= curve[-1][0]
    there = np.interp(np.log(bpp), np.log([rate for rate, _ in curve]), [psnr for _, psnr in curve])
    jpeg = f"{there:.2f} dB" if inside else f"n/a (its lowest is {curve[0][0]:.3f} bpp, {curve[0][1]:.2f} dB)"
    over = 100 * (total["payload"] / total["estimated"] - 1)
    return (
        f"{len(rows)} pictures: {bpp:.4f} bpp, {np.mean([row['psnr_db'] for row in rows]):.2f} dB; JPEG there: {jpeg}\n"
        f"payload {total['payload']:,} bytes, {over:+.2f} % of the estimate; "
        f"container {(total['bytes'] - total['payload']) / len(rows):.1f} bytes a picture"
    )


def main() -> int:
    """Train, measure, print; exit code 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("-o", dest="output", type=Path, required=True, help="folder for all of it")
    parser.add_argument("--weights", type=Path, help="measure these instead of training")
    parser.add_argument("--minutes", type=float, default=20, help="of training (default 20)")
    parser.add_argument("--steps", type=int, help="of training, instead of minutes")
    parser.add_argument("--pictures", type=int, help="how many of coco128 val (default: all 64)")
    parser.add_argument("words", nargs="*", help="changes to pipelines/configs/tcm-small.yaml")
    arguments = parser.parse_intermixed_args()

    import icm
    from pipelines.media import list_pictures

    folder = Path(os.environ.get("VCM_SHARED", "../shared")) / "data/coco128/images/val"
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder; name the data folder in VCM_SHARED")
    weights = arguments.weights or arguments.output / "train" / "model.safetensors"
    if not weights.exists():
        length = ("--steps", arguments.steps) if arguments.steps else ("--minutes", arguments.minutes)
        vcm("train", "pipelines/configs/tcm-small.yaml", "-o", str(weights.parent), *map(str, length), "--resume",
            *arguments.words)  # fmt: skip
    codec, model = icm.CODECS["sa-icm"](weights=weights), icm.build("tcm", weights=weights)
    book = arguments.output / "rows.jsonl"
    found = [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
    done = {row["name"] for row in found if row["weights"] == codec.coder.release.hash.hex()}
    paths = list_pictures(folder)[: arguments.pictures]
    for path in paths:
        if path.name not in done:
            row = measure(codec, model, path, arguments.output / "files")
            with book.open("a") as file:
                file.write(json.dumps({**row, "weights": codec.coder.release.hash.hex()}) + "\n")
    mine, names = codec.coder.release.hash.hex(), {path.name for path in paths}
    rows = [json.loads(line) for line in book.read_text().splitlines()]
    print(table([row for row in rows if row["weights"] == mine and row["name"] in names]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
