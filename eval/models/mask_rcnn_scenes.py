"""The network of `mask-rcnn-scenes`: Mask R-CNN small enough for a CPU.

    x (B, 3, H, W) ──backbone──▶ strides 4 8 16 32 ──FPN, 48 channels──▶ RPN ──proposals──▶ box head ─▶ boxes, classes
                                                            │                       └─────▶ mask head ─▶ 28×28 masks
                                                            └──▶ semantic head ─▶ a class for every pixel

Mask R-CNN: He et al. 2017 (arXiv 1703.06870); FPN: Lin et al. 2017. Their heads, samplers and losses are torchvision's.
Semantic head: Panoptic FPN, Kirillov et al. 2019 (arXiv 1901.02446); panoptic_fusion.py joins the two.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

CLASSES = {1: "person", 2: "bicycle", 3: "car"}
"""COCO's ids; they are the network's labels too (0 is background)."""

SEMANTIC = (1, 2, 3, 149, 184, 187, 191, 197)
"""Category ids of the semantic head's channels, in their order: `eval.scenes.CATEGORIES`, things and stuff."""

IGNORED = -1
"""Class index of a pixel that the semantic loss leaves out."""


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, and ReLU where `active`; `fuse` folds the two for inference."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, active: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return F.relu(x) if self.active else x

    def fuse(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = torch.nn.utils.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()


class Block(nn.Module):
    """Two convolutions and a shortcut, as in ResNet-18."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, 3, 1, active=False)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride, active=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class Backbone(nn.Module):
    """(B, 3, H, W) → {"0": stride 4, "1": 8, "2": 16, "3": 32}, each of `channels` channels."""

    def __init__(self, widths: tuple[int, int, int, int], depths: tuple[int, int, int, int], channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvNorm(3, 16, 3, 2), ConvNorm(16, widths[0], 3, 2))
        stages, inputs = [], widths[0]
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            stages.append(nn.Sequential(*(Block(inputs if j == 0 else width, width, 2 if i and j == 0 else 1)
                                          for j in range(depth))))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.fpn = FeaturePyramidNetwork(list(widths), channels)
        self.out_channels = channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        features: OrderedDict[str, Tensor] = OrderedDict()
        for i, stage in enumerate(self.stages):
            x = stage(x)
            features[str(i)] = x
        return self.fpn(features)


class SemanticHead(nn.Module):
    """{"0": (B, C, h, w), "1": half of it, "2", "3"} → logits (B, classes, h, w).

    Every level goes to stride 4 by convolutions with a doubling after each; what arrives is summed and classified.
    """

    def __init__(self, channels: int, classes: int, width: int = 48) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.ModuleList(ConvNorm(width if i else channels, width) for i in range(max(level, 1)))
            for level in range(4))
        self.predict = nn.Conv2d(width, classes, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        total: Tensor | None = None
        for (name, x), steps in zip(features.items(), self.levels, strict=True):
            for step in steps:  # type: ignore[attr-defined]
                x = step(x)
                if name != "0":
                    x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            total = x if total is None else total + x
        return self.predict(total)


class SceneMaskRCNN(nn.Module):
    """forward(x, targets): x (B, 3, H, W) float RGB in [0, 1], any H and W.

    Training, with targets (boxes xyxy, labels, masks (N, H, W) uint8, as torchvision has them, and semantic (H, W)
    int64 indices into SEMANTIC, or IGNORED): a dict of losses.
    Evaluation: per picture {boxes (N, 4) xyxy, scores, labels, masks (N, 1, 28, 28) in box coordinates}; asked for
    `semantic`, also {semantic: (classes, H, W) logits}, which changes nothing in the others.

    `semantic=False` builds it without that head, as weights of before it need.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (32, 64, 128, 160),
                 depths: tuple[int, int, int, int] = (1, 2, 2, 1), channels: int = 48, hidden: int = 192,
                 semantic: bool = True) -> None:
        super().__init__()
        classes = len(CLASSES) + 1
        self.backbone = Backbone(widths, depths, channels)
        # One scale a level; people are tall, cars wide, bicycles either.
        anchors = AnchorGenerator(((18,), (36,), (72,), (150,)), ((0.6, 1.3, 2.7),) * 4)
        self.rpn = RegionProposalNetwork(
            anchors, RPNHead(channels, 3), fg_iou_thresh=0.7, bg_iou_thresh=0.3, batch_size_per_image=128,
            positive_fraction=0.5, pre_nms_top_n={"training": 400, "testing": 250},
            post_nms_top_n={"training": 250, "testing": 120}, nms_thresh=0.7)
        levels = ["0", "1", "2", "3"]
        # The canonical box of 224 pixels at level 4 is ImageNet's; these pictures are a third of the size.
        box_pool, mask_pool = (MultiScaleRoIAlign(levels, side, 2, canonical_scale=96) for side in (7, 14))
        self.roi_heads = RoIHeads(
            box_pool, TwoMLPHead(channels * 49, hidden), FastRCNNPredictor(hidden, classes), fg_iou_thresh=0.5,
            bg_iou_thresh=0.5, batch_size_per_image=48, positive_fraction=0.25, bbox_reg_weights=None,
            score_thresh=0.05, nms_thresh=0.5, detections_per_img=40, mask_roi_pool=mask_pool,
            mask_head=MaskRCNNHeads(channels, (channels, channels), 1),
            mask_predictor=MaskRCNNPredictor(channels, channels, classes))
        self.semantic = SemanticHead(channels, len(SEMANTIC)) if semantic else None  # last: the others start as before

    def fuse(self) -> SceneMaskRCNN:
        """For inference: normalisations folded into their convolutions."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        return self

    def features(self, x: Tensor) -> OrderedDict[str, Tensor]:
        """Levels of the pyramid of x, padded to multiples of 32."""
        height, width = x.shape[-2:]
        x = F.pad((x - 0.45) * 4, (0, -width % 32, 0, -height % 32))
        return OrderedDict((k, v.float()) for k, v in self.backbone(x).items())

    def classify(self, features: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Logits (B, classes, H, W) of the semantic head; ValueError where it was built without."""
        if self.semantic is None:
            raise ValueError("mask-rcnn-scenes: this network has no semantic head")
        logits = F.interpolate(self.semantic(features).float(), scale_factor=4.0, mode="bilinear", align_corners=False)
        return logits[..., :size[0], :size[1]]

    def semantic_loss(self, features: dict[str, Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        """Mean cross-entropy of the pixels that are not IGNORED; 0 where all are."""
        truth = torch.stack([target["semantic"] for target in targets])
        logits = self.classify(features, (truth.shape[-2], truth.shape[-1]))
        counted = (truth != IGNORED).sum().clamp(min=1)
        return F.cross_entropy(logits, truth, ignore_index=IGNORED, reduction="sum") / counted

    def forward(self, x: Tensor, targets: list[dict[str, Tensor]] | None = None, semantic: bool = False):
        height, width = x.shape[-2:]
        features = self.features(x)
        with torch.autocast(x.device.type, enabled=False):  # boxes need more than eight bits
            images = ImageList(x.float(), [(height, width)] * len(x))
            proposals, losses = self.rpn(images, features, targets)
            found, more = self.roi_heads(features, proposals, images.image_sizes, targets)
        if self.training:
            if self.semantic is not None and targets is not None:
                more["loss_semantic"] = 0.5 * self.semantic_loss(features, targets)  # the paper's weight
            return {**losses, **more}
        if semantic:
            for one, logits in zip(found, self.classify(features, (height, width)), strict=True):
                one["semantic"] = logits
        return found
