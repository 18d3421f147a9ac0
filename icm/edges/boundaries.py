"""Label map to the binary edge map `sam_x(alpha)` of SA-ICM.

Shapes: label map (H, W) of integers, edge map (H, W) bool.

Canny on the ids themselves misses edges: ids 1 and 2 differ by less than any useful threshold, and 1 and 257 are the
same number in eight bits. Two methods do not:

canny (default) colours the regions, so that neighbours always differ by more than Canny's upper threshold, and runs
Canny on the colours. It is the paper's operator, and its lines are one pixel wide and smooth. The nodes coloured are
4-connected regions, not the ids: their graph is planar, so six colours are enough whatever the segmentation, while the
graph of ids may need one colour an id.

change marks a pixel that differs from its right or its lower neighbour: exact, no thresholds, no OpenCV, the same bytes
everywhere for ever. It is the reference that the other is tested against.

Both keep one promise: of any two 4-neighbours with different labels at least one is an edge pixel. Canny's suppression
of non-maxima breaks it at junctions and in regions a pixel wide (a chequerboard has no gradient at all); these places
are completed from the label changes. Both draw nothing farther than one pixel from a change.
"""

from __future__ import annotations

import numpy as np

METHODS = ("canny", "change")
CANNY = (100, 200)
"""Default thresholds of Canny, on the L1 norm of a 3x3 Sobel gradient."""
CANNY_LIMIT = 6000
"""Largest upper threshold: 4 * 5 steps between six colours, each above threshold / 4, must fit in 16 bits."""


def changes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where labels change, to the right (H, W-1) and downwards (H-1, W), bool."""
    return labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]


def edge_map(labels: np.ndarray, method: str = "canny", canny: tuple[int, int] = CANNY, dilate: int = 1) -> np.ndarray:
    """Edges of a label map (H, W), as (H, W) bool, lines `dilate` pixels wide (odd; a square brush).

    Raises ValueError for labels that are not (H, W) integers, and for options outside their range.
    """
    check_options(method, canny, dilate)
    if labels.ndim != 2 or labels.size == 0 or labels.dtype.kind not in "iub":
        raise ValueError(f"a label map is (height, width) of integers, not {labels.shape} of {labels.dtype}")
    right, down = changes(labels)
    if method == "change":
        edges = np.zeros(labels.shape, dtype=bool)
        edges[:, :-1] |= right
        edges[:-1] |= down
    else:
        edges = _canny(regions_coloured(labels, right, down), canny)
        complete(edges, right, down)
    return thicken(edges, dilate)


def check_options(method: str, canny: tuple[int, int], dilate: int) -> None:
    """Raise ValueError, with what to give instead, for options out of range."""
    if method not in METHODS:
        raise ValueError(f"unknown edge method {method!r}: choose one of {', '.join(METHODS)}")
    if not 0 <= canny[0] <= canny[1] <= CANNY_LIMIT:
        raise ValueError(f"Canny thresholds {canny[0]},{canny[1]} are not 0 <= LO <= HI <= {CANNY_LIMIT}")
    if dilate < 1 or dilate % 2 == 0 or dilate > 255:
        raise ValueError(f"dilation {dilate} is not an odd number of pixels between 1 and 255")


def complete(edges: np.ndarray, right: np.ndarray, down: np.ndarray) -> None:
    """Mark, in place, the left or upper pixel of every change of labels neither of whose pixels is marked."""
    edges[:, :-1] |= right & ~(edges[:, :-1] | edges[:, 1:])
    edges[:-1] |= down & ~(edges[:-1] | edges[1:])


def thicken(edges: np.ndarray, width: int) -> np.ndarray:
    """Edges (H, W) bool drawn with a square brush of `width` pixels (odd)."""
    if width == 1:
        return edges
    import cv2

    return cv2.dilate(edges.astype(np.uint8), np.ones((width, width), np.uint8)).astype(bool)


def regions_coloured(labels: np.ndarray, right: np.ndarray | None = None, down: np.ndarray | None = None) -> np.ndarray:
    """Colour 0..5 of every pixel's 4-connected region, different in regions that touch along a side. (H, W) uint8."""
    from skimage.measure import label as components

    if right is None or down is None:
        right, down = changes(labels)
    ids = labels.astype(np.int64)
    regions = components(ids, connectivity=1, background=int(ids.min()) - 1) - 1  # an id that no pixel has
    pairs = np.concatenate(
        [
            np.stack([regions[:, :-1][right], regions[:, 1:][right]], 1),
            np.stack([regions[:-1][down], regions[1:][down]], 1),
        ]
    )
    colours = colour_graph(int(regions.max()) + 1, pairs)
    return colours[regions]


def colour_graph(n: int, pairs: np.ndarray) -> np.ndarray:
    """Colours (n,) uint8 of the nodes of a graph, different across each of `pairs` (E, 2); at most 6 if it is planar.

    Smallest degree last (Matula and Beck, 1983): every planar graph has a node of degree <= 5, so when nodes are taken
    in the reverse of the order in which the least connected one is removed, each meets at most 5 coloured neighbours.
    """
    pairs = np.sort(pairs, axis=1)
    keys = np.unique(pairs[:, 0].astype(np.int64) * n + pairs[:, 1])
    neighbours: list[list[int]] = [[] for _ in range(n)]
    for a, b in zip((keys // n).tolist(), (keys % n).tolist(), strict=True):
        neighbours[a].append(b)
        neighbours[b].append(a)
    degree = [len(around) for around in neighbours]
    buckets: list[list[int]] = [[] for _ in range(max(degree, default=0) + 1)]
    for node in range(n - 1, -1, -1):
        buckets[degree[node]].append(node)
    order: list[int] = []
    removed, least = [False] * n, 0
    while len(order) < n:
        while not buckets[least]:
            least += 1
        node = buckets[least].pop()
        if removed[node] or degree[node] != least:  # an entry from before its degree fell
            continue
        removed[node] = True
        order.append(node)
        for other in neighbours[node]:
            if not removed[other]:
                degree[other] -= 1
                buckets[degree[other]].append(other)
        least = max(0, least - 1)
    colours = [-1] * n
    for node in reversed(order):
        taken = {colours[other] for other in neighbours[node]}
        colours[node] = next(c for c in range(len(taken) + 1) if c not in taken)
    return np.array(colours, dtype=np.uint8)


def _canny(colours: np.ndarray, thresholds: tuple[int, int]) -> np.ndarray:
    """Canny on colours (H, W) spread so that a straight step between any two exceeds the upper threshold."""
    import cv2

    step = thresholds[1] // 4 + 1  # Sobel 3x3 answers a step of s with 4 s
    levels = colours.astype(np.int16) * np.int16(step)
    dx = cv2.Sobel(levels, cv2.CV_16S, 1, 0, ksize=3, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.Sobel(levels, cv2.CV_16S, 0, 1, ksize=3, borderType=cv2.BORDER_REPLICATE)
    return cv2.Canny(dx, dy, thresholds[0], thresholds[1]).astype(bool)
