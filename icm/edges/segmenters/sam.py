"""Segment Anything (Kirillov et al., ICCV 2023), models of the segment-anything package: `sam:vit_h|vit_l|vit_b`.

alpha is the generator's `pred_iou_thresh`: masks whose predicted IoU is above it are kept (at 0, all of
them, as upstream has it); a lower alpha keeps more masks and so draws more edges.

Shapes: picture (H, W, 3) uint8 RGB, masks (N, H, W) bool, label map (H, W) int32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icm.edges.sam.options import Options
from icm.edges.segmenters.base import Found, Segmenter, read_options
from icm.edges.segmenters.checkpoints import OFFICIAL, obtain, sha256_of

if TYPE_CHECKING:
    from icm.edges.sam.everything import Everything
    from icm.edges.sam.survivors import Survivors


class Sam(Segmenter):
    """A model of `arch` with the weights at `checkpoint`, or the official ones; loaded by `prepare`.

    model: a ready segment_anything Sam to use instead. Raises ValueError for an unknown arch or weights that do not
    fit it, OSError for missing weights, ImportError without the package.
    """

    scored = True

    def __init__(
        self,
        arch: str,
        checkpoint: Path | None = None,
        device: str = "auto",
        options: Options | None = None,
        model: Any = None,
    ) -> None:
        if arch not in OFFICIAL:
            raise ValueError(f"unknown Segment Anything model {arch!r}: choose sam:{', sam:'.join(OFFICIAL)}")
        if checkpoint is not None and not checkpoint.is_file():
            raise FileNotFoundError(f"{checkpoint}: no such file; name the weights of {arch} with --sam-checkpoint")
        self.name = f"sam:{arch}"
        self.arch, self.checkpoint, self.device, self.model = arch, checkpoint, device, model
        self.options = options or Options()
        self._everything: Everything | None = None
        self._sha256 = sha256_of(checkpoint) if checkpoint else OFFICIAL[arch].sha256

    def settings(self) -> dict[str, Any]:
        return {"segmenter": self.name, "checkpoint_sha256": self._sha256, **dataclasses.asdict(self.options)}

    def prepare(self) -> None:
        try:
            import segment_anything  # noqa: F401
        except ImportError:
            raise ImportError("sam needs the segment-anything package: pip install segment-anything") from None
        if self.model is None:
            self.model = self._load(self.checkpoint or obtain(OFFICIAL[self.arch]))

    def survivors(self, pictures: Sequence[np.ndarray], alpha: float) -> list[Survivors]:
        """The masks of each picture that survive at `alpha`: those of any higher alpha are among them."""
        from icm.edges.sam.everything import Everything

        self.prepare()
        if self._everything is None:
            self._everything = Everything(self.model, self.options)
        try:
            return self._everything(pictures, alpha)
        except RuntimeError as error:  # torch's own class for want of memory, on CPU a plain RuntimeError
            if "memory" in str(error):
                advice = "try --option points_per_batch=16 or a smaller picture"
                raise MemoryError(f"Segment Anything; {advice}") from None
            raise

    def masks(self, picture: np.ndarray, alpha: float) -> list[dict[str, Any]]:
        """The generator's records (`segmentation`, `predicted_iou`, …), those with predicted IoU above alpha."""
        return self.survivors([picture], alpha)[0].select(alpha).records()

    def find(
        self, pictures: Sequence[np.ndarray], names: Sequence[str], alphas: Sequence[float | None]
    ) -> list[list[Found] | Exception]:
        wanted = [0.0 if alpha is None else alpha for alpha in alphas]
        try:
            found = self.survivors(pictures, min(wanted))
        except MemoryError as error:
            if len(pictures) == 1:
                return [error]
            return [self.find([x], [name], alphas)[0] for x, name in zip(pictures, names, strict=True)]
        results: list[list[Found] | Exception] = []
        for survivors in found:
            chosen = [survivors.select(alpha) for alpha in wanted]
            results.append([Found(masks.label_map(), len(masks)) for masks in chosen])
        return results

    def label_maps(self, picture: np.ndarray, name: str, alphas: Sequence[float | None]) -> list[np.ndarray]:
        (found,) = self.find([picture], [name], alphas)
        if isinstance(found, Exception):
            raise found
        return [labels for labels, _ in found]

    def _load(self, checkpoint: Path) -> Any:
        import torch
        from segment_anything import sam_model_registry

        from icm.codecs.checkpoints import restricted

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            if checkpoint.suffix == ".safetensors":
                from safetensors.torch import load_file

                state = load_file(checkpoint)
            else:
                state = restricted(checkpoint)
            model = sam_model_registry[self.arch](checkpoint=None)
            model.load_state_dict(state)
        except OSError:
            raise
        except Exception as error:  # pickle, zip, safetensors and torch each have their own; the file is at fault
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise ValueError(
                f"{checkpoint}: not weights of Segment Anything {self.arch} ({reason}); official ones "
                f"are at {OFFICIAL[self.arch].url}"
            ) from None
        try:
            return model.to(device).eval()
        except (RuntimeError, AssertionError) as error:  # no such device, built without it, or full
            reason = " ".join(str(error).split())[:160]
            raise ValueError(f"--device {device}: cannot be used ({reason}); try --device cpu") from None


def build(
    target: str, checkpoint: str | None = None, device: str = "auto", options: dict[str, str] | None = None
) -> Sam:
    """`sam:ARCH`, weights from `checkpoint` or the cache."""
    settings = read_options(Options, options or {}, "sam")
    return Sam(target or "vit_h", Path(checkpoint) if checkpoint else None, device, settings)
