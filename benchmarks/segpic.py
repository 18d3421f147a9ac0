"""What SegPIC's parts are worth: trained with masks, on the grid, without RAT, without SAL; coded to files; a table.

    python -m benchmarks.segpic -o runs/segpic [--minutes 20 | --steps 2000] [--pictures N] [settings.KEY=VALUE ...]

    vcm train (four networks) ─▶ × regions: files ─▶ PSNR, bpp ─▶ table.jsonl, table.md      gradients ─▶ gradients.png

| network | training |
|---|---|
| masks | the annotators' label maps as privileged information (pipelines/configs/segpic-small.yaml) |
| grid | the same pictures, the 4×4 grid alone |
| no-rat, no-sal | masks; without region-adaptive transforms (so masks say nothing), without scale-affine layers |

| regions | what the files carry |
|---|---|
| grid | nothing: as the paper infers |
| labels/4, labels/16 | the annotators' label map, without loss at 1/4 or 1/16 of the size: the price of privilege |

Rate: bytes of the files, all pictures together; PSNR: mean over pictures, decoded from the files. JPEG's PSNR at the
same rate is interpolated. `payload`: bytes of symbols over what forward estimates.

gradients.png, the paper's view of mask guidance: where the squared error of one object's region comes from, as the
gradient with respect to the input, with the grid and with masks; the share of its energy inside the region is printed.

What is there is not made again: ended anywhere, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_pictures import vcm

NETWORKS = {
    "masks": (),
    "grid": ("settings.model.privilege=false",),
    "no-rat": ("settings.model.rat=false",),
    "no-sal": ("settings.model.sal=false",),
}
REGIONS = {"grid": None, "labels/4": 4, "labels/16": 16}
MEASURED = [
    ("masks", "grid"), ("masks", "labels/4"), ("masks", "labels/16"),
    ("grid", "grid"), ("grid", "labels/4"), ("no-rat", "grid"), ("no-sal", "grid"),
]  # fmt: skip
GRADIENTS = [("masks", "labels"), ("masks", "grid"), ("grid", "grid"), ("no-rat", "grid")]
JPEG = (2, 5, 10, 15, 20, 30, 40, 60)
Row = dict[str, Any]


def train(network: str, out: Path, arguments: argparse.Namespace) -> Path:
    """The weights of one network; a run that was ended goes on."""
    weights = out / "train" / network / "model.safetensors"
    if not weights.exists():
        length = ("--steps", arguments.steps) if arguments.steps else ("--minutes", arguments.minutes)
        words = [*NETWORKS[network], *arguments.words]
        vcm(
            "train",
            "pipelines/configs/segpic-small.yaml",
            "-o",
            str(weights.parent),
            *map(str, length),
            "--resume",
            *words,
        )
        print(f"{network}: trained", flush=True)
    return weights


class Pictures:
    """Those of coco128 val, with their label maps."""

    def __init__(self, shared: Path, count: int | None) -> None:
        from icm.edges.segmenters.given import Labels

        folder = shared / "data/coco128/images/val"
        if not folder.is_dir():
            raise SystemExit(f"{folder}: no such folder; name the data folder in VCM_SHARED")
        self.paths = sorted(folder.iterdir())[:count]
        self.labels = Labels(shared / "data/coco128/annotations/panoptic_val.json")

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 and (H, W) int32."""
        from pipelines.media import read_picture

        picture = read_picture(path)
        return picture, self.labels.label_maps(picture, path.name, [None])[0]


# --- files ----------------------------------------------------------------------------------------------------------
def measure(codec: Any, model: Any, picture: np.ndarray, labels: np.ndarray, regions: str, file: Path) -> Row:
    """One picture through one file."""
    from icm.bitstream import read

    scale = REGIONS[regions]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(codec.encode(picture) if scale is None else codec.encode(picture, labels, scale))
    with read(file) as stream:
        parts = codec.parts(stream)
    return {
        "bytes": file.stat().st_size, **parts, "pixels": picture.shape[0] * picture.shape[1],
        "psnr_db": psnr_db(picture, codec.decode(file)), "estimated": estimated(model, picture, labels, scale),
    }  # fmt: skip


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2)))


def estimated(model: Any, picture: np.ndarray, labels: np.ndarray, scale: int | None) -> float:
    """Bytes of symbols by forward's likelihoods."""
    import torch

    told = None if scale is None else torch.from_numpy(labels)[None]
    if scale == 16:  # as the file's decoder knows them
        assert told is not None
        told = told[:, ::16, ::16].repeat_interleave(16, 1).repeat_interleave(16, 2)
        told = told[:, : picture.shape[0], : picture.shape[1]]
    with torch.no_grad():
        out = model(torch.tensor(picture).permute(2, 0, 1)[None].float() / 255, told)
    return float(-sum(torch.log2(p).sum() for p in out["likelihoods"].values())) / 8


def jpeg_curve(pictures: Pictures, out: Path) -> list[tuple[float, float]]:
    """(bpp, PSNR) at a few qualities, as the codecs here are measured."""
    from pipelines import codecs

    path = out / "jpeg.json"
    if not path.exists():
        sums = {quality: [0.0, 0.0, 0.0] for quality in JPEG}
        for file in pictures.paths:
            picture, _ = pictures.load(file)
            for quality, total in sums.items():
                codec = codecs.parse(f"jpeg:{quality}")
                data = codec.encode(picture)
                for i, value in enumerate((len(data), picture[..., 0].size, psnr_db(picture, codec.decode(data)))):
                    total[i] += value
        curve = [(8 * size / pixels, psnr / len(pictures.paths)) for size, pixels, psnr in sums.values()]
        path.write_text(json.dumps(sorted(curve)))
    return [(bpp, psnr) for bpp, psnr in json.loads(path.read_text())]


def table(rows: list[Row], curve: list[tuple[float, float]]) -> str:
    """Markdown, a line each of MEASURED that is there."""
    lines = ["| network | regions in the file | bpp | of it labels | container | PSNR dB | JPEG's there | payload |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for network, regions in MEASURED:
        mine = [row for row in rows if (row["network"], row["regions"]) == (network, regions)]
        if not mine:
            continue
        pixels, total = sum(r["pixels"] for r in mine), {k: sum(r[k] for r in mine) for k in
                        ("bytes", "labels", "container", "symbols", "estimated")}  # fmt: skip
        bpp = {key: 8 * value / pixels for key, value in total.items()}
        inside = curve[0][0] <= bpp["bytes"] <= curve[-1][0]
        jpeg = f"{np.interp(np.log(bpp['bytes']), np.log([c[0] for c in curve]), [c[1] for c in curve]):.2f}"
        psnr = np.mean([row["psnr_db"] for row in mine])
        lines.append(
            f"| {network} | {regions} | {bpp['bytes']:.4f} | {bpp['labels']:.4f} | {bpp['container']:.4f} | {psnr:.2f} "
            f"| {jpeg if inside else 'n/a'} | {total['symbols'] / total['estimated']:.4f} |"
        )
    return "\n".join(lines)


# --- gradients ------------------------------------------------------------------------------------------------------
def gradient(model: Any, picture: np.ndarray, labels: np.ndarray | None, region: np.ndarray) -> np.ndarray:
    """(H, W): size of the gradient of the region's squared error with respect to each pixel of the input."""
    import torch

    x = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
    seen = x.clone().requires_grad_()
    x_hat = model(seen, None if labels is None else torch.from_numpy(labels)[None])["x_hat"]
    ((x_hat - x).square() * torch.from_numpy(region)).sum().backward()  # x as the target is a constant
    assert seen.grad is not None
    return seen.grad[0].norm(dim=0).numpy()


def draw_gradients(models: dict[str, Any], pictures: Pictures, count: int, path: Path) -> list[str]:
    """A row a picture; → a line each for reading aloud."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    views = [view for view in GRADIENTS if view[0] in models]
    shown = pictures.paths[:: max(1, len(pictures.paths) // count)][:count]
    figure, axes = plt.subplots(
        len(shown),
        1 + len(views),
        figsize=(3.2 * (1 + len(views)), 2.6 * len(shown)),
        squeeze=False,
        layout="constrained",
    )
    lines = []
    for row, file in zip(axes, shown, strict=True):
        picture, labels = pictures.load(file)
        side = 64 * (min(*labels.shape, 384) // 64)
        picture, labels = picture[:side, :side], np.ascontiguousarray(labels[:side, :side])
        ids, areas = np.unique(labels, return_counts=True)
        region = labels == ids[np.argmin(np.abs(areas - labels.size / 6))]  # neither a spot nor the whole
        row[0].imshow(picture)
        row[0].contour(region, [0.5], colors="yellow", linewidths=1)
        row[0].set_ylabel(file.stem)
        told = []
        for cell, (name, kind) in zip(row[1:], views, strict=True):
            field = gradient(models[name], picture, labels if kind == "labels" else None, region)
            share = float((field[region] ** 2).sum() / (field**2).sum())
            cell.imshow(np.log10(field / field.max() + 1e-4), cmap="magma", vmin=-4, vmax=0)
            cell.contour(region, [0.5], colors="white", linewidths=0.5)
            cell.set_title(f"{name}, {kind}: {share:.1%} inside", fontsize=9)
            told.append(f"{name} with {kind} {share:.4f}")
        for cell in row:
            cell.set(xticks=[], yticks=[])
        lines.append(f"{file.stem}: gradient's energy inside the region: {', '.join(told)}")
    figure.savefig(path, dpi=110)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, default=Path("runs/segpic"))
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=20.0, help="of training each (default 20)")
    length.add_argument("--steps", type=int, help="of training each")
    parser.add_argument("--pictures", type=int, help="measure on the first N only")
    parser.add_argument(
        "--gradients", type=int, default=4, metavar="N", help="pictures of the plot (default 4; 0: none)"
    )
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="for every training")
    arguments = parser.parse_args()

    import icm
    from icm.codecs.segpic.codec import SegpicCodec

    out = arguments.output
    out.mkdir(parents=True, exist_ok=True)
    weights = {network: train(network, out, arguments) for network in NETWORKS}
    models = {network: icm.build("segpic", weights=path) for network, path in weights.items()}
    pictures = Pictures(Path(os.environ.get("VCM_SHARED", "../shared")).resolve(), arguments.pictures)
    kept = out / "table.jsonl"
    rows: list[Row] = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(row["network"], row["regions"], row["picture"]) for row in rows}
    for network, regions in MEASURED:
        codec = SegpicCodec("segpic", weights=weights[network])
        for path in pictures.paths:
            if (network, regions, path.stem) in done:
                continue
            file = out / "files" / f"{network}-{regions.replace('/', '-')}" / f"{path.stem}.vcm"
            row = measure(codec, models[network], *pictures.load(path), regions, file)
            rows.append({"network": network, "regions": regions, "picture": path.stem, **row})
            with kept.open("a") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
    text = table(rows, jpeg_curve(pictures, out))
    (out / "table.md").write_text(text + "\n")
    print(text)
    if arguments.gradients:
        for line in draw_gradients(models, pictures, arguments.gradients, out / "gradients.png"):
            print(line)


if __name__ == "__main__":
    main()
