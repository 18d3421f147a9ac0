"""Ways of training for machines: each trains a tiny network to a file that codes; processes share a batch exactly."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import icm
from icm import losses
from pipelines import cli
from pipelines.media import write_picture
from pipelines.tasks.frozen_features import FrozenFeatures
from pipelines.tasks.image_codec import ImageCodecTask, Settings
from pipelines.tasks.picture_data import Pictures, Source
from tests.icm.conftest import picture
from tests.pipelines.conftest import Done

TINY = {"latent": 16, "hyper": 8, "prior_width": 12, "widths": [8, 12, 16], "depths": [1, 1, 1]}
SIDE = 64


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pictures with edge masks, label maps (two objects) and a configuration."""
    for i in range(4):
        write_picture(tmp_path / "pictures" / f"{i}.png", picture(90, 110, i))
        labels = np.zeros((90, 110, 3), np.uint8)
        labels[20:60, 30 + i : 60, 0] = 7
        labels[70:80, 70:100, 0] = 9
        write_picture(tmp_path / "labels" / f"{i}.png", labels)
        edges = np.zeros((90, 110, 3), np.uint8)
        edges[18:22, 30:60] = 255
        write_picture(tmp_path / "masks" / f"{i}.png", edges)
    source = {"pictures": f"{tmp_path}/pictures", "masks": f"{tmp_path}/masks", "labels": f"{tmp_path}/labels"}
    settings = {"data": [source], "crop": SIDE, "batch": 2, "integers_at": 0.5, "model": TINY}
    (tmp_path / "tiny.yaml").write_text(
        json.dumps({"task": "image-codec", "settings": settings, "trainer": {"log_steps": 1, "threads": 1}})
    )
    return tmp_path


def settings(data: Path, **more: Any) -> Settings:
    source = Source(data / "pictures", data / "masks", data / "labels")
    return Settings([source], crop=SIDE, batch=2, model=TINY, **more)


@pytest.mark.parametrize("way", losses.DISTORTIONS)
def test_each_way_trains_to_a_file_that_codes(data: Path, tmp_path: Path, way: str) -> None:
    words = [str(data / "tiny.yaml"), "-o", str(tmp_path / "run"), "--steps", "3", f"settings.distortion={way}"]
    assert cli.main(["train", *words]) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(row["main"]) and not row["skipped"] for row in rows)
    coded = icm.encode(picture(48, 48), codec="sa-icm-s:40", weights=tmp_path / "run" / "model.safetensors")
    assert icm.decode(coded, weights=tmp_path / "run" / "model.safetensors").shape == (48, 48, 3)


def test_what_counts_is_what_the_way_says(data: Path) -> None:
    """The distortion of a batch whose picture is wrong in one place only, for every way of choosing pixels."""
    x = torch.rand(1, 3, SIDE, SIDE)
    wrong = x.clone()
    wrong[..., :8, :8] += 0.1
    here = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.uint8)
    here[..., :8, :8] = 255
    away = 255 - here
    found = {}
    for way in ("edges", "blend", "objects", "regions"):
        task = ImageCodecTask(settings(data, distortion=way, normalise=False), 0)
        found[way] = [float(task._distortion(x, wrong, {"mask": mask})) for mask in (here, away)]
    whole = float(losses.masked_mse_255(x, wrong))
    for way in ("edges", "objects", "regions"):
        assert found[way] == pytest.approx([whole, 0.0])
    assert found["blend"] == pytest.approx([whole, 0.25 * whole])
    task = ImageCodecTask(settings(data, distortion="edges", elsewhere=0.5, normalise=False), 0)
    assert float(task._distortion(x, wrong, {"mask": away})) == pytest.approx(0.5 * whole)


def test_a_map_gives_each_cell_the_lambda_of_its_quality() -> None:
    quality = torch.tensor([60.0])
    quality_map = torch.full((1, 4, 4), 60.0)
    quality_map[0, 1, 2] = 20.0
    weight = losses.roi_weights(quality_map, quality, 1e-4, 3e-2, 16)
    assert weight.shape == (1, 1, 64, 64)
    ratio = losses.lmbda_at(torch.tensor(20.0), 1e-4, 3e-2) / losses.lmbda_at(torch.tensor(60.0), 1e-4, 3e-2)
    assert torch.allclose(weight[0, 0, 16:32, 32:48], ratio.expand(16, 16))
    assert float((weight != 1).sum()) == 256


def test_maps_of_training_reach_the_network(data: Path) -> None:
    task = ImageCodecTask(settings(data, distortion="roi", roi_step=30), 3)
    maps = torch.cat([task.batch(step, 0, 1)["quality_map"] for step in range(6)])
    flat = [bool((one == one[0, 0]).all()) for one in maps]
    assert maps.shape == (12, 4, 4)
    assert any(flat)
    assert not all(flat)
    assert maps.min() >= 1
    network = task.build().train()
    batch = task.batch(0, 0, 1)
    batch["quality_map"][:] = 1.0
    torch.manual_seed(0)
    low = task.loss(network, batch, 0)["rate_bpp_estimated"]
    batch["quality_map"][:] = 100.0
    torch.manual_seed(0)
    assert task.loss(network, batch, 0)["rate_bpp_estimated"] > 1.2 * low


def test_regions_come_from_labels_and_pictures_without_count_in_full(data: Path) -> None:
    with_labels, without = Source(data / "pictures", None, data / "labels"), Source(data / "pictures")
    assert Pictures([with_labels], SIDE, "labels").mean_fraction() == pytest.approx((40 * 28.5 + 300) / 9900, rel=0.01)
    assert Pictures([without], SIDE, "labels").mean_fraction() == 1
    crops = Pictures([with_labels], SIDE, "labels", with_labels=True).batch([0, 0], range(8))
    assert set(np.unique(crops.labels)) == {0, 7, 9}
    assert ((crops.mask > 0) == (crops.labels > 0)).mean() > 0.98, "shrunk alike, but for borders"
    (data / "labels" / "0.png").unlink()
    assert len(Pictures([with_labels], SIDE)) == 3, "twins see the same pictures, whether they need labels or not"


def test_features_of_a_frozen_model_pull_pictures_and_keep_still() -> None:
    features = FrozenFeatures("mask-rcnn-scenes")
    before = {name: tensor.clone() for name, tensor in features.network.state_dict().items()}
    x = torch.from_numpy(picture(64, 64)).permute(2, 0, 1)[None].float() / 255
    x_hat = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    error = losses.feature_error(features(x), features(x_hat))
    assert error.shape == (1,)
    assert 0 < error.item() < 2
    error.sum().backward()
    assert x_hat.grad is not None
    assert float(x_hat.grad.abs().sum()) > 0
    assert float(losses.feature_error(features(x), features(x))) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in features.network.state_dict().items())
    assert not any(p.requires_grad for p in features.network.parameters())


def test_features_of_torchvisions_models(tmp_path: Path) -> None:
    from eval.models.official import network

    torch.manual_seed(0)
    model = network("fasterrcnn_mobilenet_v3_large_320_fpn")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    features = FrozenFeatures("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", str(tmp_path / "w.pth"))
    levels = features(torch.rand(1, 3, 64, 64))
    assert len(levels) > 1
    with pytest.raises(ValueError, match="torchvision's models and mask-rcnn-scenes have them"):
        FrozenFeatures("onnx:FastestDet.onnx")


class OneLambda(nn.Module):
    """A network that asks for labels and takes no quality, as float-prior codecs are."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.9))
        self.quantiles = nn.Parameter(torch.zeros(1))
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
        assert labels is not None
        self.seen.append(labels)
        return {"x_hat": x * self.scale, "likelihoods": {"y": torch.full((len(x), 4), 0.5)}}

    def export(self, path: Path) -> None:
        path.write_bytes(b"weights")


def test_networks_get_what_they_name(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icm, "build", lambda arch, weights=None, **settings: OneLambda())
    task = ImageCodecTask(settings(data, arch="other", lmbda=0.5), 0)
    network = task.build()
    values = task.loss(network, task.batch(0, 0, 1), 0)
    assert network.seen[0].shape == (2, SIDE, SIDE)  # type: ignore[union-attr, index]
    assert network.seen[0].dtype == torch.int64  # type: ignore[union-attr, index]
    expected = values["rate_bpp_estimated"] + 0.5 * values["distortion"]
    assert values["main"].item() == pytest.approx(expected.item())
    task.preview(network, tmp_path / "previews", 1)
    task.export(network, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == b"weights"
    with pytest.raises(ValueError, match="has no map of qualities"):
        ImageCodecTask(settings(data, arch="other", distortion="roi"), 0)


def test_dry_run_says_what_a_night_would_meet(data: Path, tmp_path: Path, vcm: Callable[..., Done]) -> None:
    words = ["train", data / "tiny.yaml", "-o", tmp_path / "run", "--dry-run", "--steps", 1000]
    done = vcm(*words)
    assert done.code == 0
    for said in ("data: 4 pictures", "memory of this process", "disk: ", "hours for 1000", "tiny.yaml: fine"):
        assert said in done.err
    assert not (tmp_path / "run").exists()
    write_picture(data / "masks" / "2.png", np.zeros((5, 5, 3), np.uint8))
    done = vcm(*words, "settings.distortion=edges", "settings.normalise=false")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "2.png: 5x5 for a picture of another size" in done.err
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.safetensors").touch()
    done = vcm(*words)
    assert done.code == 2
    assert "holds a run already" in done.err


PROGRAM = """
import sys
from compressai.entropy_models import EntropyModel
from pipelines import cli
from tests.pipelines.test_ways import without_noise
EntropyModel.quantize = without_noise(EntropyModel.quantize)
sys.exit(cli.main(sys.argv[1:]))
"""


def without_noise(quantize: Callable[..., Any]) -> Callable[..., Any]:
    """Of CompressAI's entropy models, the method that adds the noise of training."""
    return lambda self, x, mode, means=None: x if mode == "noise" else quantize(self, x, mode, means)


def test_two_processes_learn_as_one_with_the_doubled_batch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gloo on one machine; without noise, whose numbers belong to processes, the curves are the same."""
    from compressai.entropy_models import EntropyModel

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["train", str(data / "tiny.yaml"), "--steps", "5", "trainer.amp=false", "trainer.ema=0",
             "settings.distortion=blend", "settings.warmup=0"]  # fmt: skip
    both = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1",
            "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *words, "-o", str(tmp_path / "two")]
    run = [subprocess.Popen(command, env={**both, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]
    monkeypatch.setattr(EntropyModel, "quantize", without_noise(EntropyModel.quantize))
    assert cli.main([*words, "-o", str(tmp_path / "one"), "settings.batch=4"]) == 0
    assert [process.wait(600) for process in run] == [0, 0]
    curves = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
              for name in ("one", "two")]  # fmt: skip
    assert len(curves[0]) == len(curves[1]) == 5
    for name in ("main", "aux", "rate_bpp_estimated", "distortion"):
        single, double = ([row[name] for row in rows] for rows in curves)
        assert double == pytest.approx(single, rel=1e-3), name
    assert curves[0][0]["main"] != pytest.approx(curves[0][-1]["main"], rel=1e-2), "something was learned"
