"""What a configuration of Detectron2 says, the old kind (.yaml) and the lazy kind (.py) alike, and its category ids."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

RECORD_ONLY = ("pixel_mean", "pixel_std", "cell_anchors")  # in old files; computed from the configuration today


@dataclass(frozen=True)
class Recipe:
    """path: of the configuration; trusted: part of the installed package, so that what runs in it may run."""

    path: Path
    trusted: bool

    @cached_property
    def config(self) -> Any:
        """CfgNode or DictConfig; ValueError, one line, when the file is no configuration."""
        _quieten()
        if self.lazy:
            from detectron2.config import LazyConfig

            return LazyConfig.load(str(self.path))
        from detectron2.config import get_cfg

        config = get_cfg()
        try:
            config.merge_from_file(str(self.path), allow_unsafe=self.trusted)
        except Exception as error:  # yaml, yacs and fvcore each have their own
            reason = " ".join(str(error).split())[:160]
            if "python/" in reason:  # as in the zoo's Base-RetinaNet.yaml
                reason = "it, or its base, holds Python to be run; write the values out instead"
            raise ValueError(f"{self.path}: no configuration of Detectron2 ({reason})") from None
        return config

    @property
    def lazy(self) -> bool:
        return self.path.suffix == ".py"

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the network gives; ValueError for networks that this adapter does not know."""
        if self.lazy:
            return ("detection", *(("instances",) if "mask_head" in self.config.model.roi_heads else ()))
        model = self.config.MODEL
        if model.META_ARCHITECTURE == "SemanticSegmentor":
            return ("semantic",)
        if model.META_ARCHITECTURE not in ("GeneralizedRCNN", "RetinaNet", "PanopticFPN"):
            raise ValueError(f"{self.path}: {model.META_ARCHITECTURE} is not known here; GeneralizedRCNN, RetinaNet, "
                             "PanopticFPN and SemanticSegmentor are")  # fmt: skip
        dense = model.META_ARCHITECTURE == "RetinaNet"
        more = {"instances": model.MASK_ON and not dense, "keypoints": model.KEYPOINT_ON and not dense}
        panoptic = ("panoptic", "semantic") if model.META_ARCHITECTURE == "PanopticFPN" else ()
        return ("detection", *(task for task, given in more.items() if given), *panoptic)

    @property
    def resize(self) -> tuple[int, int]:
        """Pixels: the shorter side at test time (0: as it is), and what the longer one may be at most."""
        if self.lazy:
            step = self.config.dataloader.test.mapper.augmentations[0]
            return int(step.short_edge_length), int(step.max_size)
        return int(self.config.INPUT.MIN_SIZE_TEST), int(self.config.INPUT.MAX_SIZE_TEST)

    @property
    def colours(self) -> str:
        """ "RGB" or "BGR"."""
        return str(self.config.dataloader.test.mapper.image_format if self.lazy else self.config.INPUT.FORMAT)

    def network(self, device: str) -> Any:
        """The network with random weights, in evaluation mode."""
        if self.lazy:
            from detectron2.config import instantiate

            return instantiate(self.config.model).to(device).eval()
        from detectron2.modeling import build_model

        config = self.config.clone()
        config.MODEL.DEVICE, config.MODEL.WEIGHTS = device, ""
        return build_model(config).eval()

    @cached_property
    def ids(self) -> Ids:
        """The category ids of the data set that the configuration is tested on."""
        if self.lazy:
            sets = [str(self.config.dataloader.test.dataset.names)]
            classes = int(self.config.model.roi_heads.num_classes)
        else:
            model = self.config.MODEL
            sets = list(self.config.DATASETS.TEST)
            classes = int((model.RETINANET if model.META_ARCHITECTURE == "RetinaNet" else model.ROI_HEADS).NUM_CLASSES)
        return _ids(sets[0] if sets else "", classes, "semantic" in self.tasks, "detection" in self.tasks)


def _quieten() -> None:
    """Detectron2 is older than the torch it runs on, which tells users about it; they can do nothing. Nor about the
    zoo's configurations that hold Python."""
    for message in ("torch.meshgrid: in an upcoming release", "`torch.jit.script` is deprecated"):
        warnings.filterwarnings("ignore", message)
    for name in ("torch.fx._symbolic_trace", "fvcore.common.config"):
        logging.getLogger(name).setLevel(logging.ERROR)


@dataclass(frozen=True)
class Ids:
    """things[i], stuff[i]: the data set's category id of the network's class i; a stuff class 0 ("things") has none.

    categories: id -> name, None where Detectron2 does not know the data set: class i is then category id i + 1.
    """

    things: tuple[int, ...]
    stuff: dict[int, int]
    categories: dict[int, str] | None


def _ids(data_set: str, classes: int, with_stuff: bool, with_things: bool) -> Ids:
    from detectron2.data import MetadataCatalog
    from detectron2.data.datasets.builtin_meta import CITYSCAPES_CATEGORIES, COCO_CATEGORIES

    meta = MetadataCatalog.get(data_set) if data_set in MetadataCatalog.list() else None
    names = list(meta.get("thing_classes", [])) if meta and with_things else []
    known = not with_things or len(names) == classes  # else a network of other classes kept the name of the data set
    things = {i: i + 1 for i in range(classes)}  # Pascal VOC, LVIS, persons with keypoints: counted from one
    if known and meta and meta.get("thing_dataset_id_to_contiguous_id"):
        things = {i: identity for identity, i in meta.thing_dataset_id_to_contiguous_id.items()}
    elif known and data_set.startswith("cityscapes"):
        by_name = {row["name"]: row["id"] for row in CITYSCAPES_CATEGORIES}
        things = {i: by_name[name] for i, name in enumerate(names)}
    stuff: dict[int, int] = {}
    if with_stuff and meta:
        stuff = {i: identity for identity, i in meta.get("stuff_dataset_id_to_contiguous_id", {}).items() if identity}
    # Detectron2 shortens COCO's names of stuff ("-merged", "-other"); the data set's own are meant.
    full = {row["id"]: row["name"] for row in COCO_CATEGORIES} if data_set.startswith("coco") else {}
    categories = {things[i]: name for i, name in enumerate(names) if known}
    categories |= {identity: full.get(identity, meta.stuff_classes[i]) for i, identity in stuff.items()} if meta else {}
    return Ids(tuple(things[i] for i in sorted(things)), stuff, categories if known and categories else None)


def load(network: Any, tensors: dict[str, Any], author: str | None, path: str | os.PathLike) -> None:
    """Weights into the network, all of them or ValueError in one line. author: see `read_checkpoint`."""
    if author is not None:
        from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts

        tensors = align_and_update_state_dicts(network.state_dict(), tensors, c2_conversion=author == "Caffe2")
    tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    try:
        missing = network.load_state_dict(tensors, strict=False).missing_keys
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ValueError(f"{path}: these weights are not this model's ({lines[-1].strip()[:160]})") from None
    missing = [key for key in missing if not any(part in key for part in RECORD_ONLY)]
    if missing:
        raise ValueError(f"{path}: these weights are not this model's ({len(missing)} tensors missing, "
                         f"{missing[0]} the first)")  # fmt: skip
