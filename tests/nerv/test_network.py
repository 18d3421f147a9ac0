"""Networks while they are fitted: what they start from, losses, sizes, and rounding to bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from icm.bitstream import Times
from icm.bitstream.fields import Cursor
from nerv import losses
from nerv.codec import NetworkCodec
from nerv.file import write_networks
from nerv.finish import Finisher
from nerv.models.architecture import Architecture
from nerv.models.encoder import Encoder, components
from nerv.network import Network
from nerv.sizes import BUILDERS, sized, strides_for

FULL = Architecture((4, 2, 3), (8, 6, 5), (2, 2), (3, 3), output="linear", stem=3, head=2, residuals=(2, 1),
                    details=(0, 2))  # fmt: skip


@pytest.fixture
def frames() -> torch.Tensor:
    """(5, 3, 16, 24) uint8: a bright square that moves over a gradient."""
    y, x = np.mgrid[:16, :24]
    found = np.stack([np.stack([8 * x, 10 * y, 5 * (x + y)]) for _ in range(5)]).astype(np.uint8)
    for i in range(5):
        found[i, :, 4:8, 3 * i : 3 * i + 4] = 255
    return torch.from_numpy(found)


def test_architecture_with_residuals_and_details_comes_back() -> None:
    data = FULL.to_bytes()
    assert Architecture.parse(Cursor(data, 0, "a test")) == FULL
    assert data[0] == 2
    assert Architecture((4, 2, 3), (8, 6, 5), (2, 2), (3, 3)).to_bytes()[0] == 1
    assert (FULL.height, FULL.width) == (16, 24)
    assert FULL.embeddings() == {"embedding": (4, 2, 3), "details.1": (2, 8, 12)}
    assert FULL.stored == 4 * 6 + 2 * 96


@pytest.mark.parametrize("change", [{"details": (2, 2), "residuals": (0, 1)}, {"residuals": (17, 0)}, {"stem": 2}])
def test_impossible_architectures_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"details|residual|kernels"):
        Architecture((4, 2, 3), (8, 6, 5), (2, 2), (3, 3), **change)  # type: ignore[arg-type]


def test_a_fresh_network_is_near_the_mean_colour_and_depends_on_the_frame(frames: torch.Tensor) -> None:
    network = Network(FULL, frames, None, seed=0)
    out = network(torch.arange(5))
    assert out.shape == (5, 3, 16, 24)
    mean = frames.float().mean((0, 2, 3)) / 255
    assert (out.mean((0, 2, 3)) - mean).abs().max() < 0.15
    assert (out[0] - out[4]).abs().max() > 1e-4


def test_fitting_lowers_the_error_and_the_file_is_what_was_fitted(frames: torch.Tensor) -> None:
    network = Network(FULL, frames, None, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    x, errors = frames.float() / 255, []
    for _ in range(60):
        error = losses.l2(x, network(torch.arange(5)))
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < errors[0] / 3
    finisher = Finisher(FULL, network.tensors(frames), 5)
    fine = finisher.rounded(finisher.usual_noise())
    data = write_networks("sa-nerv", FULL, [(5, fine)], Times.constant(5, 10))
    shown = np.stack([frame for frame, _ in NetworkCodec("hnerv").decode_clip(data)])
    wanted = network(torch.arange(5)).detach().clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    assert np.square(shown - wanted).mean() < 255**2 * 10**-4.3
    most = finisher.bytes(fine) * 2 // 3
    coarse = finisher.fit(most)
    assert 0.9 * most < finisher.bytes(coarse) <= most
    with pytest.raises(ValueError, match="too few"):
        finisher.fit(20)


def test_the_encoder_has_the_shape_of_the_paper() -> None:
    assert Encoder((2, 2), 7, width=8)(torch.rand(3, 3, 8, 12)).shape == (3, 7, 2, 3)


def test_components_are_of_unit_variance_and_tell_frames_apart(frames: torch.Tensor) -> None:
    found = components(frames, (6, 2, 3))
    assert found.shape == (5, 6, 2, 3)
    assert torch.isfinite(found).all()
    assert abs(float(found[:, 0].std()) - 1) < 0.05
    assert (found[0] - found[4]).abs().max() > 0.1


def test_nervs_loss_is_its_equation(frames: torch.Tensor) -> None:
    x = frames[:2].float() / 255
    assert float(losses.nerv(x, x)) == pytest.approx(0, abs=1e-6)
    shifted = (x + 0.1).clamp(0, 1)
    l1 = float((shifted - x).abs().mean())
    assert float(losses.nerv(x, shifted)) > 0.7 * l1
    flat = torch.full((1, 3, 16, 24), 0.999)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(losses.nerv(flat, flat - 1e-4)) == pytest.approx(0, abs=1e-3)
    mask = torch.zeros(2, 1, 16, 24)
    mask[..., :12] = 1
    half = float(losses.on_edges(losses.l1, x, shifted, mask))
    assert half == pytest.approx(float((shifted - x)[..., :12].abs().mean()) / 2, rel=1e-5)
    with pytest.raises(ValueError, match="too small for SSIM"):
        losses.nerv(x[..., :8], x[..., :8])


def test_features_see_what_a_backbone_sees(frames: torch.Tensor, tmp_path: Path) -> None:
    from torchvision.models import squeezenet1_1

    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), tmp_path / "w.pth")
    far = losses.Features("squeezenet1_1", str(tmp_path / "w.pth"), ("features.1", "features.4"))
    x = torch.nn.functional.interpolate(frames[:2].float() / 255, (64, 64))
    assert float(far(x, x)) == 0
    x_hat = (x + 0.1).requires_grad_(True)
    far(x, x_hat).backward()
    assert x_hat.grad is not None
    assert float(x_hat.grad.abs().max()) > 0
    with pytest.raises(ValueError, match="is not a state dict of resnet18"):
        losses.Features("resnet18", str(tmp_path / "w.pth"), ("layer1",))
    with pytest.raises(ValueError, match="torchvision has no such model"):
        losses.Features("resnet19", str(tmp_path / "w.pth"), ("layer1",))


@pytest.mark.parametrize("name", list(BUILDERS))
def test_sizes_are_kept(name: str) -> None:
    for parameters in (400_000, 1_500_000):
        found = sized(name, 320, 640, 132, parameters)
        numbers = found.parameters + 132 * found.stored
        assert 0.85 * parameters < numbers <= parameters
        assert found.height >= 320
        assert found.width >= 640
    with pytest.raises(ValueError, match="too few"):
        sized(name, 320, 640, 132, 1000)


@pytest.mark.parametrize("size", [(320, 640), (216, 384), (432, 768), (1080, 1920), (35, 50), (1, 1), (17, 3000)])
def test_strides_cover_the_frame_with_little_beyond(size: tuple[int, int]) -> None:
    strides = strides_for(*size)
    product = int(np.prod(strides))
    cells = [-(-side // product) for side in size]
    assert cells[0] * cells[1] <= 24 or min(size) < 20
    if min(size) > 200:
        assert cells[0] * cells[1] * product**2 < 1.15 * size[0] * size[1]
