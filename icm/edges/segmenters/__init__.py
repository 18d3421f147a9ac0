"""What segments a picture: one explicit table from the name on the command line to its builder.

A segmenter turns one picture into one label map for each alpha; `icm.edges.boundaries` draws the edges. To add one,
write a file here and a line in SEGMENTERS.
"""

from __future__ import annotations

from collections.abc import Callable

from icm.edges.segmenters import felzenszwalb, given, sam
from icm.edges.segmenters.base import Found, NotLabelled, Segmenter

SEGMENTERS: dict[str, Callable[..., Segmenter]] = {
    "labels": given.build,
    "felzenszwalb": felzenszwalb.build,
    "sam": sam.build,
}


def build(
    name: str, checkpoint: str | None = None, device: str = "auto", options: dict[str, str] | None = None
) -> Segmenter:
    """The segmenter called `name`, as `--segmenter` takes it: KIND or KIND:TARGET, such as `labels:PATH`, `sam:vit_b`.

    checkpoint: weights of SAM, downloaded to the cache when absent. options: KEY -> VALUE as text, of that kind.
    Raises ValueError (unknown name or option), OSError (missing files), ImportError (a package is missing).
    """
    kind, _, target = name.partition(":")
    if kind not in SEGMENTERS:
        raise ValueError(
            f"unknown segmenter {name!r}: choose sam:vit_h, sam:vit_l, sam:vit_b, labels:PATH or felzenszwalb"
        )
    return SEGMENTERS[kind](target, checkpoint=checkpoint, device=device, options=options or {})


__all__ = ["SEGMENTERS", "Found", "NotLabelled", "Segmenter", "build"]
