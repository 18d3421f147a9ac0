"""The fast path of Segment Anything: upstream's masks, mask by mask, and those of any alpha from one pass."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from icm.edges.labels import label_map
from icm.edges.sam.decoder import SplitDecoder
from icm.edges.sam.encoder import attend, encode
from icm.edges.sam.everything import Everything
from icm.edges.sam.options import Options
from icm.edges.sam.resize import Resize
from icm.edges.sam.survivors import boxes_of, pack, paint, unpack
from tests.icm.edges.tiny_sam import tiny_sam

ALL = -1e9
OURS = (
    "points_per_batch",
    "encoder_batch",
    "precision",
    "precision_parts",
    "low_res_margin",
    "refine",
    "refine_masks",
    "search_pool",
)
BASE = {"points_per_side": 6, "stability_score_thresh": 0.0, "box_nms_thresh": 0.9}
SETTINGS = [
    {},
    {"box_nms_thresh": 0.6, "points_per_batch": 7},
    {"stability_score_thresh": 0.5, "stability_score_offset": 0.2},
    {"crop_n_layers": 1, "encoder_batch": 3},
    {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2, "crop_nms_thresh": 0.5, "crop_overlap_ratio": 0.5},
    {"min_mask_region_area": 20},
    {"crop_n_layers": 1, "min_mask_region_area": 30},
]


def scene(height: int = 48, width: int = 80, seed: int = 1) -> np.ndarray:
    ys, xs = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    discs = ((ys - 24) ** 2 + (xs - 30) ** 2 < 200)[..., None] * np.array([120, 60, 10])
    return (noise + discs + (xs > 55)[..., None] * 70).astype(np.uint8)


def upstream(model, picture: np.ndarray, alpha: float, options: Options) -> list[dict]:
    theirs = {key: value for key, value in dataclasses.asdict(options).items() if key not in OURS}
    return SamAutomaticMaskGenerator(model, pred_iou_thresh=alpha, **theirs).generate(picture)


def assert_same(mine: list[dict], theirs: list[dict]) -> None:
    """The same masks in the same order."""
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        assert np.array_equal(a["segmentation"], b["segmentation"])
        assert (a["area"], a["bbox"], a["crop_box"]) == (b["area"], b["bbox"], b["crop_box"])
        assert a["point_coords"][0] == pytest.approx(b["point_coords"][0])
        assert a["predicted_iou"] == pytest.approx(b["predicted_iou"], abs=1e-5)
        assert a["stability_score"] == pytest.approx(b["stability_score"], abs=1e-5, nan_ok=True)


def between(iou: torch.Tensor, quantile: float) -> float:
    """An alpha midway between two masks, so that no float decides on which side one lies."""
    scores = np.unique(iou.numpy())
    at = max(1, int(quantile * len(scores)))
    return float(scores[at - 1 : at + 1].mean()) if len(scores) > 1 else float(scores[0]) - 0.01


@pytest.mark.parametrize(
    ("number", "size"), [*((i, (48, 80)) for i in range(len(SETTINGS))), (0, (70, 33)), (3, (70, 33))]
)
def test_masks_are_upstreams_at_every_alpha_of_one_pass(number, size):
    options, model, picture = Options(**{**BASE, **SETTINGS[number]}), tiny_sam(depth=2), scene(*size)
    (survivors,) = Everything(model, options)([picture], ALL)
    counts = []
    for alpha in (ALL, between(survivors.iou, 0.3), between(survivors.iou, 0.7)):
        theirs = upstream(model, picture, alpha, options)
        chosen = survivors.select(alpha)
        counts.append(len(theirs))
        assert_same(chosen.records(), theirs)
        segments, scores = [mask["segmentation"] for mask in theirs], [mask["predicted_iou"] for mask in theirs]
        assert np.array_equal(chosen.label_map(), label_map(segments, scores, picture.shape[:2]))
    assert counts[0] >= counts[1] >= counts[2] > 0
    assert counts[0] > counts[2], "alphas that leave nothing out would prove little"


def test_a_batch_of_pictures_is_its_pictures():
    pictures, few = [scene(), scene(33, 61, 2), scene(80, 48, 3)], {**BASE, "points_per_side": 3}
    for options in (Options(**few, encoder_batch=2), Options(**few, encoder_batch=2, crop_n_layers=1)):
        everything = Everything(tiny_sam(), options)
        for together, picture in zip(everything(pictures, 0.4), pictures, strict=True):
            assert_same(together.records(), everything([picture], 0.4)[0].records())


def test_no_mask_survives():
    (survivors,) = Everything(tiny_sam(), Options(**BASE, crop_n_layers=1))([scene()], 1e9)
    assert len(survivors.select(1e9)) == 0
    assert survivors.records() == []
    labels = survivors.select(1e9).label_map()
    assert labels.shape == (48, 80)
    assert not labels.any()


def test_nothing_is_upscaled_for_points_below_the_threshold(monkeypatch):
    done = []
    real = SplitDecoder.logits

    def logits(self, state, *rest):
        done.append(len(state.image))
        return real(self, state, *rest)

    monkeypatch.setattr(SplitDecoder, "logits", logits)
    everything = Everything(tiny_sam(), Options(**BASE))
    for alpha, expected in ((ALL, 36), (1e9, 0)):
        done.clear()
        everything([scene()], alpha)
        assert sum(done) == expected
    (survivors,) = everything([scene()], ALL)
    done.clear()
    everything([scene()], float(survivors.iou.max()) - 1e-4)
    assert 0 < sum(done) < 36


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_attention_in_chunks_is_upstreams(rows, monkeypatch):
    encoder = tiny_sam().image_encoder
    with torch.no_grad():
        for parameter in (encoder.blocks[0].attn.rel_pos_h, encoder.blocks[0].attn.rel_pos_w):
            parameter.normal_(0, 0.5)
    monkeypatch.setattr("icm.edges.sam.encoder.SCORES_CPU", rows * 8 * 64)
    torch.manual_seed(0)
    with torch.inference_mode():
        x = torch.randn(2, 8, 8, 16)
        torch.testing.assert_close(attend(encoder.blocks[0].attn, x), encoder.blocks[0].attn(x))
        picture = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(encode(encoder, picture), encoder(picture))


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (97, 33), (1500, 2000), (3, 300)])
def test_resizing_in_blocks_is_upstreams_two_steps(size):
    from segment_anything.utils.transforms import ResizeLongestSide

    torch.manual_seed(0)
    used = ResizeLongestSide.get_preprocess_shape(*size, 256)
    logits, like = torch.randn(2, 64, 64), types.SimpleNamespace(image_encoder=types.SimpleNamespace(img_size=256))
    from segment_anything.modeling import Sam

    theirs = Sam.postprocess_masks(like, logits[None], used, size)[0]
    ours = Resize(64, 256, used, size, torch.device("cpu"))
    torch.testing.assert_close(ours(logits), theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours(ours.inside(logits)), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 40])
def test_packing_boxes_and_painting(width):
    rng = np.random.default_rng(width)
    masks = rng.random((13, 9, width)) < 0.3
    masks[4], masks[5] = False, masks[6]
    packed = pack(torch.from_numpy(masks))
    assert np.array_equal(packed.numpy(), np.packbits(masks, axis=-1))
    assert np.array_equal(unpack(packed, width).numpy(), masks)
    for mask, box in zip(masks, boxes_of(torch.from_numpy(masks)).tolist(), strict=True):
        ys, xs = np.nonzero(mask)
        assert box == ([xs.min(), ys.min(), xs.max(), ys.max()] if len(xs) else [0, 0, 0, 0])
    order = torch.from_numpy(rng.permutation(13))
    wanted = np.zeros((9, width), int)
    for i in order.tolist()[::-1]:
        wanted[masks[i]] = i + 1
    assert np.array_equal(paint(packed, order, width).numpy(), wanted)


def test_shortcuts_are_near_and_named():
    picture, exact = scene(), Options(**{**BASE, "stability_score_thresh": 0.5, "stability_score_offset": 0.2})
    (reference,) = Everything(tiny_sam(depth=2), exact)([picture], 0.5)
    assert len(reference)
    for more in (
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "precision_parts": "encoder+upscaling"},
        {"low_res_margin": 0.2},
    ):
        (found,) = Everything(tiny_sam(depth=2), dataclasses.replace(exact, **more))([picture], 0.5)
        ours, theirs = found.masks().numpy(), reference.masks().numpy()
        best = [max((a & b).sum() / max(1, (a | b).sum()) for b in theirs) for a in ours]
        assert len(best)
        assert np.mean(best) > 0.8, more
    (none,) = Everything(tiny_sam(), dataclasses.replace(exact, low_res_margin=0.0))([np.zeros_like(picture)], 1e9)
    assert len(none) == 0


@pytest.mark.parametrize("more", [{}, {"crop_n_layers": 1}, {"stability_score_thresh": 0.0}, {"points_per_batch": 5}])
@pytest.mark.parametrize(
    "cheap", [{"precision": "bfloat16", "precision_parts": "transformer+upscaling"}, {"search_pool": 2}]
)
def test_refined_masks_are_those_of_float32(more, cheap):
    """The margins are wide, for a tiny model's low resolution is low indeed."""
    chosen = {**BASE, "stability_score_thresh": 0.5, "stability_score_offset": 0.2, "box_nms_thresh": 0.6, **more}
    model, picture, options = tiny_sam(depth=2), scene(), Options(**chosen)
    (reference,) = Everything(model, options)([picture], 0.5)
    search = dataclasses.replace(options, **cheap, refine=0.2, refine_masks=0.4)
    (found,) = Everything(model, search)([picture], 0.5)
    assert len(reference) > 1
    assert_same(found.select(0.5).records(), reference.select(0.5).records())


def test_refining_makes_few_masks_again(monkeypatch):
    model, picture = tiny_sam(depth=2), scene()
    everything = Everything(model, Options(**{**BASE, "box_nms_thresh": 0.3}, refine=0.0, refine_masks=0.0))
    made: list[int] = []
    transform = everything.exact.transform
    monkeypatch.setattr(
        everything.exact,
        "transform",
        lambda shared, prompts: (made.append(len(prompts.tokens)), transform(shared, prompts))[1],
    )
    assert len(everything([picture], 0.5)[0])
    assert 0 < sum(made) < BASE["points_per_side"] ** 2
    assert len(everything([picture], 1e9)[0]) == 0


def test_bad_options_and_other_models():
    for more, message in (
        ({"precision": "int8"}, "float32, bfloat16, float16"),
        ({"precision_parts": "decoder"}, r"encoder\+transformer\+upscaling"),
        ({"points_per_side": 2, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, "leaves no point"),
        ({"encoder_batch": -1}, "not negative"),
        ({"search_pool": 3, "refine": 0.01}, "1, 2 or 4"),
        ({"search_pool": 2}, "refine="),
    ):
        with pytest.raises(ValueError, match=message):
            Options(**more)
    with pytest.raises(ValueError, match="not built as Segment Anything"):
        Everything(torch.nn.Linear(2, 2))
    model = tiny_sam()

    class Other(torch.nn.Module):  # another encoder before SAM's prompt encoder and mask decoder
        img_size = 64

        def forward(self, x):
            return torch.nn.functional.adaptive_avg_pool2d(x, 8).repeat(1, 11, 1, 1)[:, :32]

    model.image_encoder = Other()
    assert_same(
        Everything(model, Options(**BASE))([scene()], 0.3)[0].records(),
        upstream(model, scene(), 0.3, Options(**BASE)),
    )
