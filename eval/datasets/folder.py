"""A plain folder of pictures without labels: rate, PSNR and MS-SSIM only."""

from __future__ import annotations

from pathlib import Path

from eval.datasets.base import Dataset, Item

SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
            ".gif", ".avif", ".jp2", ".mpo"}  # fmt: skip  # those that `vcm encode` takes from a folder


def folder(images: str | Path, annotations: str | Path | None = None) -> Dataset:
    """Every picture below `images`, hidden ones left out, sorted by path, ids from 0. ValueError: there is none."""
    if annotations is not None:
        raise ValueError(f"{annotations}: a plain folder has no annotations; use --dataset coco with them")
    images = Path(images)
    if not images.is_dir():
        raise ValueError(f"{images}: no such folder; give --images a folder of pictures")
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
                   and not any(part.startswith(".") for part in path.relative_to(images).parts))  # fmt: skip
    if not paths:
        raise ValueError(f"{images}: holds no pictures ({', '.join(sorted(SUFFIXES))})")
    names = [path.relative_to(images).as_posix() for path in paths]
    return Dataset(images.resolve().name, tuple(map(Item, range(len(paths)), names, paths)))
