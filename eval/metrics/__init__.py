"""Metrics: pure functions of pictures, predictions, or curves. pycocotools, OpenCV and scipy load on first use."""

from eval.metrics.ap import AveragePrecision, average_precision, coco_results
from eval.metrics.bd import BD, bd_rate
from eval.metrics.ms_ssim import ms_ssim
from eval.metrics.psnr import psnr_db

__all__ = ["BD", "AveragePrecision", "average_precision", "bd_rate", "coco_results", "ms_ssim", "psnr_db"]
