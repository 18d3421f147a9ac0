"""`sa-icm` from the command line: the authors' checkpoints converted, files written and read, training."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import icm
from icm.codecs.release import Release
from pipelines import cli
from pipelines.media import read_picture, write_picture
from tests.icm.codecs.tiny_tcm import TINY, published, tiny_tcm
from tests.icm.conftest import picture


def vcm(*words: object) -> int:
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As LIC_TCM's training writes it."""
    path = tmp_path_factory.mktemp("authors") / "icm_93.pth.tar"
    weights = published(tiny_tcm(3))
    torch.save({"epoch": 50, "state_dict": weights, "loss": 0.3, "optimizer": {"state": {0: {"step": 4}}}}, path)
    return path


@pytest.fixture(scope="module")
def converted(checkpoint: Path) -> Path:
    out = checkpoint.parent / "icm-93.safetensors"
    assert vcm("convert", checkpoint, "-o", out, "--arch", "tcm", "--trust", "--quality", 5) == 0
    return out


def test_every_size_and_weight_is_kept(converted: Path) -> None:
    network = icm.build("tcm", weights=converted)
    assert network.settings == TINY | {"support": 5}
    original = dict(tiny_tcm(3).named_parameters())
    assert {name for name, _ in network.named_parameters()} == set(original)
    assert all(torch.equal(parameter, original[name]) for name, parameter in network.named_parameters())
    again = Release.load(converted)
    network.quality = 5.0
    assert network.release().hash == again.hash


def test_files_through_the_command_line(converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_picture(tmp_path / "a.png", picture(70, 90))
    weights = ("--weights", converted)
    assert vcm("encode", tmp_path / "a.png", "-o", tmp_path / "a.vcm", "--codec", "sa-icm", *weights) == 0
    assert "quality 5" in capsys.readouterr().out
    data = (tmp_path / "a.vcm").read_bytes()
    assert data == icm.encode(picture(70, 90), "sa-icm:5", weights=converted)
    assert vcm("info", tmp_path / "a.vcm", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    facts = facts[0] if isinstance(facts, list) else facts
    assert facts["features"] == ["same-build"]
    assert facts["codec"] == {"tile_px": 1024, "guard_bits": 16}
    assert vcm("verify", tmp_path / "a.vcm", *weights) == 0
    assert vcm("decode", tmp_path / "a.vcm", "-o", tmp_path / "b.png", *weights) == 0
    assert np.array_equal(read_picture(tmp_path / "b.png"), icm.decode(data, weights=converted))
    capsys.readouterr()
    for words, match in (
        (("encode", tmp_path / "a.png", "-o", tmp_path / "c.vcm", "--codec", "sa-icm"), "no weights of it are shipped"),
        (("decode", tmp_path / "a.vcm", "-o", tmp_path / "c.png"), "no weights of it are shipped"),
        (("encode", tmp_path / "a.png", "-o", tmp_path / "c.vcm", "--codec", "sa-icm:7", *weights), "have one rate, 5"),
        (("encode", tmp_path / "a.png", "-o", tmp_path / "c.vcm", "--codec", "sa-icm", "--bpp", 0.3, *weights),
         "weights have one rate each"),
    ):  # fmt: skip
        assert vcm(*words) == 2
        said = capsys.readouterr().err
        assert match in said
        assert said.count("\n") == 1


class Evil:
    """What a pickle can do that a checkpoint must not."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("ran"),)


def test_what_is_no_checkpoint_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = published(tiny_tcm(3))
    first, key = next(iter(weights)), "module.h_a.3.weight"
    for name, content in {
        "lacks": {"state_dict": {k: v for k, v in weights.items() if k != key}},
        "more": {"state_dict": {**weights, "module.head.weight": torch.zeros(3)}},
        "shape": {"state_dict": {**weights, key: torch.zeros(6, 16, 3, 1)}},
        "other": {"state_dict": {"conv.weight": torch.zeros(3)}},
        "words": {"state_dict": {"a": "b"}},
    }.items():
        torch.save(content, f"{name}.pth")
    Path("evil.pth").write_bytes(pickle.dumps({"state_dict": {first: Evil()}}))
    Path("text.pth").write_text("weights")
    convert = ("convert", "--arch", "tcm", "-o", "x.safetensors", "--trust")
    for name, match in {
        "lacks": "lacks h_a.3.weight", "more": "beside its weights it has head.weight",
        "shape": "h_a.3.weight is (6, 16", "other": "is no checkpoint of LIC-TCM",
        "words": "something else than named tensors", "evil": "is no checkpoint of tensors",
        "text": "is no checkpoint of tensors", "absent": "no such checkpoint",
    }.items():  # fmt: skip
        assert vcm(*convert, f"{name}.pth") == 2
        said = capsys.readouterr().err
        assert match in said, said
        assert f"{name}.pth" in said
        assert said.count("\n") == 1
    assert not Path("ran").exists()
    assert not Path("x.safetensors").exists()
    assert vcm("convert", "--arch", "tcm", "-o", "x.safetensors", checkpoint) == 2
    assert "add --trust" in capsys.readouterr().err
    assert vcm("convert", "--arch", "tcm", "-o", "x.vcm", "--trust", checkpoint) == 2
    assert "ends in .safetensors" in capsys.readouterr().err


def test_training_from_a_config(tmp_path: Path) -> None:
    """Two steps of the trainer, edges for a loss; what it exports codes pictures and trains on."""
    for i in range(2):
        write_picture(tmp_path / "pictures" / f"{i}.png", picture(140, 150, i))
        mask = np.zeros((140, 150, 3), np.uint8)
        mask[20:60, 30:90] = 255
        write_picture(tmp_path / "masks" / f"{i}.png", mask)
    config = tmp_path / "tiny.yaml"
    config.write_text(
        f"# tiny\ntask: image-codec\nsettings:\n  arch: tcm\n  data: [{{pictures: {tmp_path}/pictures, masks: "
        f"{tmp_path}/masks}}]\n  distortion: edges\n  lmbda: 0.01\n  crop: 128\n  batch: 1\n"
        f"  model: {json.dumps(TINY)}\n"
        "trainer: {log_steps: 1, preview_steps: 2, threads: 1}\n"
    )
    assert vcm("train", config, "-o", tmp_path / "run", "--steps", 2) == 0
    weights = tmp_path / "run" / "model.safetensors"
    data = icm.encode(picture(30, 40), "sa-icm", weights=weights)
    assert icm.decode(data, weights=weights).shape == (30, 40, 3)
    assert vcm("train", config, f"settings.weights={weights}", "-o", tmp_path / "more", "--steps", 1) == 0
    assert Release.load(tmp_path / "more" / "model.safetensors").hash != Release.load(weights).hash
