"""A plain folder of pictures without labels: rate, PSNR and MS-SSIM only."""

from __future__ import annotations

from pathlib import Path

from eval.datasets.base import Dataset, Item

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff"}


def folder(images: str | Path, annotations: str | Path | None = None) -> Dataset:
    """Every picture directly in `images`, sorted by name, ids from 0. ValueError where there is none."""
    if annotations is not None:
        raise ValueError(f"{annotations}: a plain folder has no annotations; use --dataset coco with them")
    images = Path(images)
    if not images.is_dir():
        raise ValueError(f"{images}: no such folder; give --images a folder of pictures")
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ValueError(f"{images}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return Dataset(images.resolve().name, tuple(Item(i, path.name, path) for i, path in enumerate(paths)))
