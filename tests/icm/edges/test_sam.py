"""sam:* on a tiny random-weight model: our label maps are upstream's masks, alpha is upstream's threshold."""

import hashlib
import io
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from icm.edges.boundaries import edge_map
from icm.edges.segmenters import build, checkpoints
from icm.edges.segmenters.checkpoints import OFFICIAL, Checkpoint, obtain
from icm.edges.segmenters.sam import Options, Sam
from tests.icm.edges.tiny_sam import tiny_sam

SMALL = Options(points_per_side=6, stability_score_thresh=0.0, box_nms_thresh=0.9)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    ys, xs = np.mgrid[:48, :80]
    noise = np.random.default_rng(1).integers(0, 60, (48, 80, 3))
    discs = ((ys - 24) ** 2 + (xs - 30) ** 2 < 200)[..., None] * np.array([120, 60, 10])
    return (noise + discs + (xs > 55)[..., None] * 70).astype(np.uint8)


def upstream(picture: np.ndarray, alpha: float, options: Options = SMALL) -> list[dict]:
    generator = SamAutomaticMaskGenerator(
        tiny_sam(), pred_iou_thresh=alpha, points_per_side=options.points_per_side,
        stability_score_thresh=options.stability_score_thresh, box_nms_thresh=options.box_nms_thresh,
        crop_n_layers=options.crop_n_layers, min_mask_region_area=options.min_mask_region_area,
    )  # fmt: skip
    return generator.generate(picture)


@pytest.fixture(scope="module")
def alphas(picture) -> list[float]:
    """Predicted IoU of random weights is anything: take quantiles, midway between two masks."""
    scores = np.sort([mask["predicted_iou"] for mask in upstream(picture, -1e9)])
    assert len(scores) > 10
    assert 0 < scores[0] < scores[-1] < 1
    return [float(scores[int(q * len(scores)) : int(q * len(scores)) + 2].mean()) for q in (0.2, 0.5, 0.8)]


def painted(masks: list[dict], shape: tuple[int, int]) -> np.ndarray:
    """The rule of the label map, written again: for each pixel, the last of the masks in order that covers it."""
    order = sorted(enumerate(masks), key=lambda item: (-item[1]["area"], item[1]["predicted_iou"], -item[0]))
    labels = np.zeros(shape, int)
    for index, mask in order:
        labels = np.where(mask["segmentation"], index + 1, labels)
    return labels


def test_label_maps_and_edges_are_those_of_upstreams_masks(picture, alphas):
    alphas = [0.0, *alphas]
    maps = Sam("vit_b", options=SMALL, model=tiny_sam()).label_maps(picture, "a.png", alphas)
    counts = []
    for alpha, labels in zip(alphas, maps, strict=True):
        masks = upstream(picture, alpha)
        counts.append(len(masks))
        assert np.array_equal(labels, painted(masks, picture.shape[:2]))
        assert np.array_equal(edge_map(labels), edge_map(painted(masks, picture.shape[:2])))
    assert counts[0] > counts[1] > counts[2] > counts[3] > 0, "a higher alpha keeps fewer masks"
    assert edge_map(maps[0]).sum() > 0


@pytest.mark.parametrize("more", [{"crop_n_layers": 1}, {"min_mask_region_area": 20}])
def test_where_one_pass_is_not_exact_each_alpha_has_its_own(picture, alphas, more):
    options = Options(points_per_side=3, stability_score_thresh=0.0, box_nms_thresh=0.9, **more)
    maps = Sam("vit_b", options=options, model=tiny_sam()).label_maps(picture, "a.png", alphas[:2])
    for alpha, labels in zip(alphas, maps, strict=False):
        assert np.array_equal(labels, painted(upstream(picture, alpha, options), picture.shape[:2]))


def test_no_mask_above_alpha_is_an_empty_map(picture):
    (labels,) = Sam("vit_b", options=SMALL, model=tiny_sam()).label_maps(picture, "a.png", [1e9])
    assert labels.shape == picture.shape[:2]
    assert not labels.any()


def test_weights_from_a_file(picture, alphas, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    monkeypatch.setitem(__import__("segment_anything").sam_model_registry, "vit_b", lambda checkpoint: tiny_sam(seed=9))
    state = tiny_sam().state_dict()
    torch.save(state, tmp_path / "tiny.pth")
    save_file(state, tmp_path / "tiny.safetensors")
    wanted = Sam("vit_b", options=SMALL, model=tiny_sam()).label_maps(picture, "a.png", alphas)
    options = {"points_per_side": "6", "stability_score_thresh": "0", "box_nms_thresh": "0.9"}
    for file in (tmp_path / "tiny.pth", tmp_path / "tiny.safetensors"):
        segmenter = build("sam:vit_b", checkpoint=str(file), device="cpu", options=options)
        assert segmenter.settings()["checkpoint_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert all(map(np.array_equal, segmenter.label_maps(picture, "a.png", alphas), wanted))
    for content in (b"not weights", torch_bytes({"a": torch.zeros(3)})):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.pth: not weights of Segment Anything vit_b") as caught:
            build("sam:vit_b", checkpoint=str(tmp_path / "bad.pth")).label_maps(picture, "a.png", [0.5])
        assert "\n" not in str(caught.value)


def torch_bytes(state: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def test_unknown_models_options_and_files():
    with pytest.raises(ValueError, match="sam:vit_h, sam:vit_l, sam:vit_b"):
        build("sam:vit_x")
    with pytest.raises(ValueError, match="points_per_side=32"):
        build("sam:vit_b", options={"points": "3"})
    with pytest.raises(FileNotFoundError, match=r"none\.pth: no such file"):
        build("sam:vit_b", checkpoint="none.pth")


def test_offline_one_line_names_the_file_the_url_and_the_place(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("VCM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(OSError, match="no route to host") as caught:
        build("sam:vit_h").prepare()
    text = str(caught.value)
    assert "\n" not in text
    assert "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth" in text
    assert str(tmp_path / "cache" / "sam_vit_h_4b8939.pth") in text
    assert "--sam-checkpoint" in text
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_download_is_kept_only_if_it_is_the_published_file(tmp_path, monkeypatch):
    content = b"weights" * 1000
    good = Checkpoint("tiny.pth", hashlib.sha256(content).hexdigest(), len(content))
    monkeypatch.setenv("VCM_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url) or io.BytesIO(content))
    assert obtain(good).read_bytes() == content
    assert obtain(good) == tmp_path / "tiny.pth"
    assert asked == [good.url], "the second time it is there"
    with pytest.raises(OSError, match="another SHA-256"):
        obtain(Checkpoint("other.pth", "0" * 64, len(content)))
    (tmp_path / "tiny.pth").write_bytes(content[:-1] + b"!")
    with pytest.raises(ValueError, match="not the published file"):
        obtain(good)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.pth"], "nothing else is left behind"


def test_the_published_names_carry_their_own_digits():
    for checkpoint in OFFICIAL.values():
        assert len(checkpoint.sha256) == 64
        assert checkpoint.url.endswith(checkpoint.file)
    assert checkpoints.cache().name
