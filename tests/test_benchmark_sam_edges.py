"""The benchmark of SAM's edge maps, its arithmetic, on a tiny model: agreement is measured against upstream."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from benchmarks import sam_edges
from benchmarks.sam_random import aim, draw
from icm.edges.sam.everything import Everything
from icm.edges.sam.options import Options
from tests.icm.edges.test_everything import scene
from tests.icm.edges.tiny_sam import tiny_sam

SIZES = ((48, 80), (33, 61))


def test_thresholds_are_quantiles_exact_agrees_and_settings_can_be_added(tmp_path, capsys):
    model, pictures = tiny_sam(depth=2), [scene(*size) for size in SIZES]
    thresholds = sam_edges.quantiles(model, pictures[0], 6)
    assert 0 < thresholds["alpha"] < 1
    assert 0 <= thresholds["stability"] < 1
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    for names in (["exact"], list(sam_edges.NAMED)):  # as if settings had been named since
        for picture, file in zip(pictures, files, strict=True):
            sam_edges.turn(model, picture, file, 6, 6, names)
    rows = [json.loads(file.read_text()) for file in files]
    for row in rows:
        assert row["upstream"]["masks"] > 0
        assert 0 < row["edge_fraction"] < 1
        assert row["settings"]["exact"]["edge_iou"] == 1
        assert row["settings"].keys() == sam_edges.NAMED.keys()
        assert all(0 <= one["edge_iou"] <= 1 and one["cpu_s"] > 0 for one in row["settings"].values())
    sam_edges.report(rows)
    text = capsys.readouterr().out
    assert "2 pictures" in text
    assert "edge IoU mean 1.0000, least 1.0000" in next(line for line in text.splitlines() if line.startswith("exact"))
    assert np.isfinite([row["upstream"]["s"] for row in rows]).all()


def test_random_masks_are_regions_around_their_points():
    """A decoder of the real width behind a small encoder: most masks cover their point and little else."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Sam(
            image_encoder=ImageEncoderViT(
                img_size=128, patch_size=4, embed_dim=16, depth=1, num_heads=2, mlp_ratio=2, out_chans=256,
                use_rel_pos=True, window_size=4, global_attn_indexes=(),
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=256, image_embedding_size=(32, 32), input_image_size=(128, 128), mask_in_chans=4
            ),
            mask_decoder=MaskDecoder(
                transformer_dim=256, num_multimask_outputs=3,
                transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=128),
            ),
        ).eval()  # fmt: skip
    picture = scene(96, 128)
    draw(model)
    aim(model, [picture, scene(128, 100, 2)])
    options = Options(points_per_side=5, stability_score_thresh=0.0, box_nms_thresh=1.0)
    (found,) = Everything(model, options)([picture], -1e9)
    masks, points = found.masks(), found.points.long()
    share = masks.float().mean((1, 2))
    covers = masks[torch.arange(len(masks)), points[:, 1], points[:, 0]]
    some = share > 0.002
    assert some.float().mean() > 0.4
    assert share[some].median() < 0.2
    assert covers[some].float().mean() > 0.7
    assert 0.05 < float(found.iou.std()) < 0.2
    assert float(found.iou.mean()) == pytest.approx(0.6, abs=0.05)
