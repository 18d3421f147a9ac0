"""How a page calls tasks and figures, in one place: titles of panels, labels of axes, heads of columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from eval.records import Record


@dataclass(frozen=True)
class Figure:
    """A figure of a task: its name in records, and on a page, short and on an axis."""

    name: str
    short: str
    label: str
    digits: int = 1


@dataclass(frozen=True)
class Task:
    """A task: its title, the figures that are drawn (the first is the primary one), and those of parts of it."""

    title: str
    figures: tuple[Figure, ...]
    sizes: tuple[Figure, ...] = ()
    parts: str = "size"  # what `sizes` go by


AP = (Figure("ap", "AP", "AP at IoU .5:.95 (%)"), Figure("ap50", "AP50", "AP at IoU .5 (%)"))
SIZES = (
    Figure("ap_small", "small", "below 32² pixels"),
    Figure("ap_medium", "medium", "32² to 96² pixels"),
    Figure("ap_large", "large", "above 96² pixels"),
)
TASKS = {
    "detection": Task("Detection, box", AP, SIZES),
    "instances": Task("Instance segmentation, mask", AP, SIZES),
    "panoptic": Task(
        "Panoptic segmentation",
        (Figure("pq", "PQ", "panoptic quality (%)"), Figure("sq", "SQ", "segmentation quality (%)"),
         Figure("rq", "RQ", "recognition quality (%)")),
        (Figure("pq_things", "things", "countable objects"), Figure("pq_stuff", "stuff", "the rest of the scene")),
        "kind",
    ),
    "semantic": Task("Semantic segmentation", (Figure("miou", "mIoU", "mean IoU of the classes (%)"),
                                               Figure("pixel_accuracy", "pixels right", "pixels right (%)"))),
    "keypoints": Task("Keypoints", (Figure("ap", "AP", "AP at OKS .5:.95 (%)"),
                                    Figure("ap50", "AP50", "AP at OKS .5 (%)")), SIZES[1:]),
    "tracking": Task("Tracking", (Figure("hota", "HOTA", "HOTA (%)"), Figure("idf1", "IDF1", "IDF1 (%)"),
                                  Figure("mota", "MOTA", "MOTA (%)"))),
}  # fmt: skip
FIDELITY = Task("Fidelity", (Figure("psnr_db", "PSNR", "PSNR, RGB (dB)", 2),
                             Figure("ms_ssim", "MS-SSIM", "MS-SSIM (dB: −10 log₁₀(1 − x))", 4)))  # fmt: skip
PROTOCOLS = {
    "frozen": "the same weights on every codec’s decoded pictures",
    "fine-tuned": "trained further on decoded pictures",
    "pseudo-labels": "frozen; the labels are what it finds in the uncompressed pictures",
}


def task_of(name: str) -> Task:
    """The words for a task; one that is not known here is called by its name and drawn by its AP."""
    return TASKS.get(name) or Task(name, AP)


def value(record: Record, figure: str) -> float | None:
    """A figure of a record, those of older records too."""
    if figure in ("psnr_db", "ms_ssim"):
        return getattr(record, figure)
    if record.metrics:
        return record.metrics.get(figure)
    return getattr(record, figure) if figure in ("ap", "ap50") else None


def decibels(ms_ssim: float | None) -> float | None:
    """MS-SSIM as it is drawn: −10 log₁₀(1 − x), at most 60."""
    return None if ms_ssim is None else -10 * math.log10(max(1e-6, 1 - ms_ssim))
