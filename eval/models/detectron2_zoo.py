"""Detectron2's models: `detectron2:CONFIG`, a name of its model zoo or a local .yaml with --model-weights.

    detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x           detection
    detectron2:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x  detection, instances
    detectron2:COCO-PanopticSegmentation/panoptic_fpn_R_50_3x   detection, instances, panoptic, semantic
    detectron2:COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x         detection, keypoints
    detectron2:COCO-Detection/retinanet_R_50_FPN_3x@0.3         scores from 0.3 on, instead of the configuration's .05

    RGB ─▶ BGR, where the configuration says so ─▶ its own test resize ─▶ network ─▶ the picture's size, COCO's ids

The numbers are those of Detectron2's DefaultPredictor. Detectron2 is imported when it is needed; building asks only
whether it is there. The zoo's models were trained on COCO by Meta (CC BY-SA 3.0), Detectron2 is Apache-2.0.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.models.detectron2_files import fetched, read_checkpoint
from eval.models.detectron2_recipe import Ids, Recipe, load
from eval.models.scene_model import check

COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"
INSTALL = ("pip install 'setuptools<81' && pip install --no-build-isolation "
           f"git+https://github.com/facebookresearch/detectron2@{COMMIT}")  # fmt: skip
_R_CNN = ("R_50_C4_1x", "R_50_C4_3x", "R_50_DC5_1x", "R_50_DC5_3x", "R_50_FPN_1x", "R_50_FPN_3x", "R_101_C4_3x",
          "R_101_DC5_3x", "R_101_FPN_3x", "X_101_32x8d_FPN_3x")  # fmt: skip
NAMES = (
    *(f"COCO-Detection/faster_rcnn_{body}" for body in _R_CNN),
    *(f"COCO-Detection/retinanet_{body}" for body in ("R_50_FPN_1x", "R_50_FPN_3x", "R_101_FPN_3x")),
    *(f"COCO-InstanceSegmentation/mask_rcnn_{body}" for body in _R_CNN),
    *(f"COCO-Keypoints/keypoint_rcnn_{body}_FPN_{time}"
      for body, time in (("R_50", "1x"), ("R_50", "3x"), ("R_101", "3x"), ("X_101_32x8d", "3x"))),
    *(f"COCO-PanopticSegmentation/panoptic_fpn_{body}" for body in ("R_50_1x", "R_50_3x", "R_101_3x")),
)
"""Of the zoo's COCO models; whatever other configurations the installed package has are taken, too."""


def names() -> tuple[str, ...]:
    """What can be named without a file."""
    return NAMES


def build(rest: str, weights: str | os.PathLike | None = None) -> Detectron2Model:
    """rest: CONFIG or CONFIG@SCORE. One line: ImportError without Detectron2, ValueError for an unknown name."""
    config, threshold = _split(rest)
    name = f"detectron2:{rest}"
    found = importlib.util.find_spec("detectron2")
    if found is None:
        raise ImportError(f"{name} needs Detectron2, which is not on PyPI: {INSTALL}")
    if config.endswith((".yaml", ".yml")) and Path(config).is_file():
        if weights is None:
            raise ValueError(f"{name}: a configuration of your own needs its weights, --model-weights FILE")
        recipe = Recipe(Path(config), trusted=False)
        return Detectron2Model(name, recipe, recipe.tasks, weights, score_threshold=threshold)
    config = config.removesuffix(".yaml").removesuffix(".py")
    root = Path((found.submodule_search_locations or ["detectron2"])[0]) / "model_zoo" / "configs"
    path = next((p for p in (root / f"{config}{end}" for end in (".yaml", ".py")) if p.is_file()), None)
    if path is None or ".." in config or path.name.startswith("Base-"):
        raise ValueError(f"{name}: no such configuration{_near(config)}; give a name of Detectron2's model zoo or "
                         "a .yaml file with --model-weights FILE")  # fmt: skip
    if path.name.startswith(("rpn_", "fast_rcnn_")):
        raise ValueError(f"{name}: gives or takes proposals, not detections; take a faster_rcnn or retinanet")
    return Detectron2Model(name, Recipe(path, trusted=True), _tasks(path.stem), weights, config, threshold)


def _split(rest: str) -> tuple[str, float | None]:
    config, at, score = rest.rpartition("@")
    try:
        return (config, float(score)) if at else (rest, None)
    except ValueError:
        return rest, None


def _near(config: str) -> str:
    meant = {part.lower(): known for known in NAMES for part in (known, known.partition("/")[2])}
    near = difflib.get_close_matches(config.lower(), meant, 1, 0.5)
    return f" (did you mean detectron2:{meant[near[0]]}?)" if near else ""


def _tasks(stem: str) -> tuple[str, ...]:
    """By the name of a configuration of the zoo; a test compares with what the configurations say."""
    if stem.startswith("semantic"):
        return ("semantic",)
    more = {"mask_rcnn": ("instances",), "mmdet_mask": ("instances",), "keypoint": ("keypoints",),
            "panoptic": ("instances", "panoptic", "semantic")}  # fmt: skip
    return ("detection", *next((tasks for part, tasks in more.items() if part in stem), ()))


def _trained_on(zoo: str) -> str:
    folder, _, name = zoo.partition("/")
    others = {"Cityscapes": "Cityscapes", "PascalVOC": "Pascal VOC", "LVIS": "LVIS"}
    other = next((data_set for start, data_set in others.items() if folder.startswith(start)), None)
    return other or ("COCO train2017" + (", persons only" if "keypoint" in name else " (photographs)"))


class Detectron2Model:
    """`TaskModel` around a network of Detectron2. The weights are read, or fetched, at the first use.

    zoo: the name under which the zoo has weights. score_threshold: None is the configuration's (.05). device: None is
    "cuda" where there is one. batch: pictures that go through the network together, padded to the largest of them,
    which changes the last digits; None: alone on a CPU, where nothing is gained otherwise, on a GPU with others of
    their size.
    """

    def __init__(self, name: str, recipe: Recipe, tasks: tuple[str, ...], weights: str | os.PathLike | None = None,
                 zoo: str | None = None, score_threshold: float | None = None, device: str | None = None,
                 batch: int | None = None) -> None:  # fmt: skip
        self.name, self.recipe, self.tasks, self.batch = name, recipe, tasks, batch
        self.score_threshold, self._device = score_threshold, device
        self._weights, self._zoo, self._network = weights, zoo, None
        self.files: tuple[Path, ...] = ()  # what identifies the model; known once the weights are read
        self.note = "" if weights is not None or zoo is None else f"trained on {_trained_on(zoo)}"

    @property
    def categories(self) -> dict[int, str] | None:
        """Category id -> name, in the numbering of the data set that the model was trained on."""
        return self.recipe.ids.categories

    def network(self) -> Any:
        """The network itself (a torch module of Detectron2's), with its weights, on its device."""
        if self._network is None:
            import torch

            path = self._weights if self._weights is not None else fetched(self.name, self._url())
            tensors, author = read_checkpoint(path)
            network = self.recipe.network(self._device or ("cuda" if torch.cuda.is_available() else "cpu"))
            load(network, tensors, author, path)
            if self.score_threshold is not None:
                for module in network.modules():
                    if hasattr(module, "test_score_thresh"):  # box predictors, each stage of a cascade; RetinaNet
                        module.test_score_thresh = self.score_threshold
            self._network = network
            self.files = (Path(path), *(() if self.recipe.trusted else (self.recipe.path,)))
        return self._network

    def losses(self, pictures: Sequence[np.ndarray], annotations: Sequence[Sequence[dict[str, Any]]],
               semantic: Sequence[np.ndarray] | None = None) -> dict[str, Any]:  # fmt: skip
        """The training losses by name, to be summed; see `eval.models.detectron2_losses`."""
        from eval.models.detectron2_losses import losses

        return losses(self, pictures, annotations, semantic)

    def predict(self, pictures: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """See `eval.models`."""
        import torch

        network, results = self.network(), []
        training = network.training
        network.eval()
        try:
            batch = self.batch or (1 if network.device.type == "cpu" else len(pictures))
            for together in groups([picture.shape for picture in pictures], batch, self.batch is not None):
                inputs = [self.input(picture)[0] for picture in pictures[together]]
                with torch.no_grad(), torch.autocast(network.device.type, enabled=False):
                    results += [prediction(output, self.recipe.ids) for output in network(inputs)]
        finally:
            network.train(training)
        return results

    def input(self, picture: np.ndarray) -> tuple[dict[str, Any], Any]:
        """What the network takes for a picture, and the geometric transform that it has undergone."""
        import torch
        from detectron2.data.transforms import ResizeShortestEdge, ResizeTransform

        height, width = check(picture).shape[:2]
        image = np.ascontiguousarray(picture if self.recipe.colours == "RGB" else picture[:, :, ::-1])
        short, longest = self.recipe.resize
        # Not the augmentation itself: it draws from numpy's global generator, be there only one size to draw.
        size = ResizeShortestEdge.get_output_shape(height, width, short, longest) if short else (height, width)
        transform = ResizeTransform(height, width, *size)
        image = transform.apply_image(image).astype(np.float32).transpose(2, 0, 1)
        return {"image": torch.as_tensor(image), "height": height, "width": width}, transform

    def _url(self) -> str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pkg_resources, about itself
                from detectron2.model_zoo import get_checkpoint_url
        except ImportError as error:  # pkg_resources left setuptools
            raise ImportError(f"{self.name}: Detectron2's model zoo does not import ({error}): pip install "
                              "'setuptools<81', or name the weights with --model-weights FILE") from None
        try:
            return get_checkpoint_url(f"{self._zoo}.yaml")
        except RuntimeError:
            raise ValueError(f"{self.name}: the zoo has no weights for it; name yours with "
                             "--model-weights FILE") from None


def groups(shapes: Sequence[tuple[int, ...]], batch: int, mixed: bool) -> Iterator[slice]:
    """Neighbours that go through together: at most `batch`, and unless `mixed` of one shape."""
    start = 0
    for i in range(1, len(shapes) + 1):
        if i == len(shapes) or i - start == batch or (not mixed and shapes[i] != shapes[start]):
            yield slice(start, i)
            start = i


def prediction(output: dict[str, Any], ids: Ids) -> dict[str, Any]:
    """Detectron2's output for one picture -> the prediction as in `eval.models`."""
    result: dict[str, Any] = {}
    if "instances" in output:
        found = output["instances"].to("cpu")
        scores = found.scores.numpy()
        order = np.argsort(-scores, kind="stable")
        labels = np.asarray(ids.things, np.int64)[found.pred_classes.numpy()]
        result |= {"boxes": found.pred_boxes.tensor.numpy()[order], "scores": scores[order], "labels": labels[order]}
        if found.has("pred_masks"):
            result["masks"] = found.pred_masks.numpy().astype(bool)[order]
        if found.has("pred_keypoints"):
            # COCO's annotations count pixels, Detectron2 measures from the corner: as its own evaluator does.
            result["keypoints"] = found.pred_keypoints.numpy()[order] - np.array([0.5, 0.5, 0], np.float32)
    if "panoptic_seg" in output:
        panoptic, segments = output["panoptic_seg"]
        result["panoptic"] = panoptic.cpu().numpy().astype(np.int32)
        result["segments"] = [
            {"id": s["id"], "category_id": (ids.things if s["isthing"] else ids.stuff)[s["category_id"]],
             "isthing": bool(s["isthing"])} for s in segments]  # fmt: skip
    if "sem_seg" in output:
        result["semantic"] = _semantic(output["sem_seg"], result, ids)
    return result


def _semantic(sem_seg: Any, result: dict[str, Any], ids: Ids) -> np.ndarray:
    """(C, H, W) logits of the stuff classes -> (H, W) category ids.

    The head calls every thing "things". Where a panoptic segment lies its category is taken, elsewhere the head's
    stuff, and what it calls a thing that no segment covers is void (-1).
    """
    table = np.full(len(sem_seg), -1, np.int32)
    for i, identity in ids.stuff.items():
        table[i] = identity
    semantic = table[sem_seg.argmax(0).cpu().numpy()]
    if "panoptic" in result:
        segments = np.zeros(int(result["panoptic"].max()) + 1, np.int32)
        for segment in result["segments"]:
            segments[segment["id"]] = segment["category_id"]
        semantic = np.where(result["panoptic"] > 0, segments[result["panoptic"]], semantic)
    return semantic
