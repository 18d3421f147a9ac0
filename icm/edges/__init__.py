"""Edge maps for training: masks -> label map -> edges (`sam_x(alpha)` of SA-ICM, arXiv 2403.04173, Eq. 5).

labels: masks to a label map. boundaries: label map to edges. segmenters: what finds the masks. Pure functions of one
picture; folders, files and workers are `pipelines/edges.py`.
"""

from __future__ import annotations

from icm.edges.boundaries import edge_map
from icm.edges.labels import label_map, refine

__all__ = ["edge_map", "label_map", "refine"]
