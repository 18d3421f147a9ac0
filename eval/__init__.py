"""Evaluation: datasets and the embedded scenes, task models, metrics, records, plots, and the anchors (classic codecs).

It never sees a codec of ours: it reads frames and file sizes. Nothing here imports torch until a model
or a metric that needs it is used.
"""

from eval.anchors import ANCHORS

__all__ = ["ANCHORS"]
