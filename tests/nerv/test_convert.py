"""Published checkpoints: exact, small, or refused; nothing in them runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nerv.codec import NetworkDecoder, SegmentDecoder
from nerv.file import NetworkFile
from nerv.published import read_hnerv
from nerv.quantise import layers, moments, round_layer
from nerv.requantise import requantise
from pipelines import cli
from tests.nerv.tiny import FRAMES, TINY, checkpoint


def test_a_checkpoint_becomes_a_file_exactly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = checkpoint(tmp_path / "a.pth")
    assert cli.main(["convert", f"{tmp_path / 'a.pth'}", "-o", f"{tmp_path / 'a.vcm'}", "--arch", "hnerv", "--trust",
                     "--fps", "30000/1001"]) == 0  # fmt: skip
    assert "5 frames, 18x12, exact" in capsys.readouterr().out
    with NetworkFile(tmp_path / "a.vcm") as file:
        assert file.architecture == TINY
        found = file.tensors(0)
        embed = whole["embed"]
        assert (np.moveaxis(found["embedding"].q, -1, 0) == embed["quant"].numpy()).all()
        for entry, name in zip(whole["model"].values(), TINY.shapes(), strict=True):
            for part, ours in (("quant", "q"), ("min", "minimum"), ("scale", "scale")):
                assert (getattr(found[name], ours) == entry[part].numpy()).all()
        assert str(file.header.times.rate) == "30000/1001"
    assert cli.main(["decode", f"{tmp_path / 'a.vcm'}", "-o", f"{tmp_path / 'frames'}"]) == 0
    assert len(list((tmp_path / "frames").glob("*.png"))) == FRAMES
    assert cli.main(["verify", f"{tmp_path / 'a.vcm'}"]) == 0
    capsys.readouterr()
    assert cli.main(["info", f"{tmp_path / 'a.vcm'}"]) == 0
    text = capsys.readouterr().out
    assert "(blocks.1.weight)" in text
    assert f"{TINY.parameters:,} parameters" in text


def test_a_picture_is_no_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    assert cli.main(["encode", f"{tmp_path / 'a.png'}", "-o", f"{tmp_path / 'a.vcm'}", "--codec", "hnerv"]) == 2
    error = capsys.readouterr().err
    assert "is no clip" in error
    assert error.count("\n") == 1
    assert cli.main(["models"]) == 0
    assert "hnerv" in capsys.readouterr().out


class Runs:
    """What a malicious pickle would do."""

    def __reduce__(self):
        return os.mkdir, (str(Path(os.environ["MARK"])),)


@pytest.mark.parametrize("kind", ["torch", "pickle", "text", "other"])
def test_what_is_no_checkpoint(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARK", str(tmp_path / "ran"))
    path = tmp_path / "evil.pth"
    if kind == "torch":
        torch.save({"embed": Runs(), "model": {}}, path)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Runs()))
    elif kind == "text":
        path.write_text("<html>")
    else:
        torch.save({"state_dict": {}}, path)
    command = ["convert", f"{path}", "-o", f"{tmp_path / 'a.vcm'}", "--arch", "hnerv"]
    assert cli.main(command) == 2
    assert "--trust" in capsys.readouterr().err
    assert cli.main([*command, "--trust"]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "a.vcm").exists()


def test_rounding_that_looks_at_the_inputs_wins() -> None:
    """Inputs that are alike: at the same symbols' entropy, less noise in the output than by rounding each weight."""
    random = np.random.default_rng(0)
    basis = random.normal(0, 1, (40, 8))
    x = basis @ random.normal(0, 1, (8, 4000)) + 0.1 * random.normal(0, 1, (40, 4000))
    weight, gram = random.normal(0, 0.1, (30, 40, 1, 1)), x @ x.T / x.shape[1]
    errors, spreads = [], []
    for used in (gram, np.diag(np.diag(gram))):
        found = round_layer(weight, used, np.eye(30), 1e-5)
        difference = (found.values() - weight).reshape(30, 40)
        errors.append(np.mean(np.einsum("rc,cd,rd->r", difference, gram, difference)))
        spreads.append(np.log2(np.std(found.q.reshape(30, 40), axis=0) + 0.5).mean())
    assert spreads[0] < spreads[1] - 1  # a bit a weight and more
    assert errors[0] < 1.2 * errors[1]


@pytest.mark.parametrize("faint", [1e-2, 1e-3])
def test_rows_that_are_hardly_seen_keep_their_size(faint: float) -> None:
    """Behind an activation that is off, making good another row's error costs nothing to first order: it must not
    throw weights far away. Found in a fit whose rounded residual had weights of 180."""
    random = np.random.default_rng(0)
    scale = np.repeat([1e-3, 1e-3 * faint], 8)
    seen = (0.95 + 0.05 * np.eye(16)) * np.outer(scale, scale)
    x = random.normal(0, 1, (40, 6)) @ random.normal(0, 1, (6, 4000)) + 0.01 * random.normal(0, 1, (40, 4000))
    weight = random.normal(0, 0.5, (16, 40, 1, 1))
    found = round_layer(weight, x @ x.T / x.shape[1], seen, 1e-10).values()
    assert np.abs(found).max() < 2 * np.abs(weight).max()


@pytest.mark.parametrize("without", ["inputs", "outputs"])
def test_a_layer_that_does_nothing_is_rounded(without: str) -> None:
    weight = np.random.default_rng(0).normal(0, 0.5, (4, 6, 1, 1))
    gram, seen = (np.zeros((n, n)) if what == without else np.eye(n) for n, what in ((6, "inputs"), (4, "outputs")))
    found = round_layer(weight, gram, seen, 1e-8).values()
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 1.5 * np.abs(weight).max()


def test_statistics_of_a_layer(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a.pth")
    architecture, frames, tensors = read_hnerv(tmp_path / "a.pth")
    segment = SegmentDecoder(architecture, dict(tensors), frames)
    assert list(layers(segment.decoder)) == ["stem", "blocks.0", "blocks.1", "head"]
    found = moments(segment.decoder, segment.embeddings.repeat(40, 1, 1, 1))  # many probes, so that the mean is near
    assert {name: (len(s), len(h)) for name, (s, h) in found.items()} == {
        "stem": (8, 4), "blocks.0": (54, 8), "blocks.1": (20, 54), "head": (3, 45)}  # fmt: skip
    # noise of a known covariance at one layer's output: the picture's mean square is as S says
    error = 1e-3 * torch.randn(5, 20, 6, 9, generator=torch.Generator().manual_seed(0))
    before = segment.decoder(segment.embeddings)
    handle = segment.decoder.blocks[1].register_forward_hook(lambda module, inputs, output: output + error)
    after = segment.decoder(segment.embeddings)
    handle.remove()
    assert float((after - before).square().mean()) == pytest.approx(1e-6 * np.trace(found["blocks.1"][0]), rel=0.2)
    # and errors of the weights: tr(S E H Eᵀ)
    error = 1e-4 * torch.randn(20, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    segment.decoder.blocks[1].weight.data += error
    seen, gram = found["blocks.1"]
    e = error.reshape(20, 54).double().numpy()
    noise = float((segment.decoder(segment.embeddings) - before).square().mean())
    assert noise == pytest.approx(np.trace(seen @ e @ gram @ e.T), rel=0.35)


def test_requantised(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a.pth")
    architecture, frames, tensors = read_hnerv(tmp_path / "a.pth")
    coarse, reached = requantise(architecture, tensors, frames, 40.0)
    a, b = (SegmentDecoder(architecture, dict(part), frames) for part in (tensors, coarse))
    size = (architecture.width, architecture.height)
    errors = [np.mean((a.frame(i, size).astype(float) - b.frame(i, size)) ** 2) for i in range(frames)]
    assert reached >= 40
    assert np.mean([10 * np.log10(255**2 / e) for e in errors]) == pytest.approx(reached, abs=0.3)


def test_the_published_bunny(shared: Path, tmp_path: Path) -> None:
    source, out = shared / "weights" / "hnerv-bunny-1.5M-quant.pth", tmp_path / "b.vcm"
    assert cli.main(["convert", f"{source}", "-o", f"{out}", "--arch", "hnerv", "--trust"]) == 0
    assert out.stat().st_size <= 1_425_000
    _, frames, published = read_hnerv(source)
    with NetworkDecoder(out) as decoder:
        for name, tensor in decoder.file.tensors(0).items():
            for part in ("q", "minimum", "scale"):
                ours, theirs = getattr(tensor, part), getattr(published[name], part)
                assert ours.dtype == theirs.dtype
                assert ours.shape == theirs.shape
                assert (ours == theirs).all()
        assert frames == 132
        assert decoder.frame(66).shape == (640, 1280, 3)
