"""The one training loop: resumed equals uninterrupted, every configuration loads, mistakes are one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from icm.codecs.release import Release
from pipelines import cli
from pipelines.media import read_picture, write_picture
from pipelines.run import checkpoint
from pipelines.tasks.picture_data import Pictures, Source
from pipelines.train import load_config
from tests.icm.conftest import picture

CONFIGS = sorted((Path(__file__).parents[2] / "pipelines" / "configs").glob("*.yaml"))
MODEL = "settings.model={latent: 16, hyper: 8, prior_width: 12, widths: [8, 12, 16], depths: [1, 1, 1]}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six pictures and their masks."""
    for i in range(6):
        write_picture(tmp_path / "pictures" / f"{i}.png", picture(90, 110, i))
        mask = np.zeros((90, 110, 3), np.uint8)
        mask[20:40, 30 + i : 60] = 255
        write_picture(tmp_path / "masks" / f"{i}.png", mask)
    return tmp_path


@pytest.fixture
def config(data: Path) -> list[str]:
    path = data / "tiny.yaml"
    path.write_text(
        f"task: image-codec\nsettings:\n  data: [{{pictures: {data}/pictures, masks: {data}/masks}}]\n"
        "  distortion: edges\n  elsewhere: 0.25\n  crop: 64\n  batch: 2\n  integers_at: 0.5\n"
        "trainer: {log_steps: 2, preview_steps: 4, threads: 1}\n"
    )
    return [str(path), MODEL]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_loads(path: Path) -> None:
    module, settings, trainer = load_config(path, [])
    assert isinstance(settings, module.Settings)
    assert trainer.steps or trainer.minutes


def train(config: list[str], out: Path, steps: int, *more: str) -> int:
    return cli.main(["train", *config, "-o", str(out), "--steps", str(steps), *more])


def test_resumed_equals_uninterrupted(config: list[str], tmp_path: Path) -> None:
    """Stopped inside the float phase and inside the integer phase; the weights are the same bits."""
    assert train(config, tmp_path / "whole", 12) == 0
    program = (
        "import sys; from pipelines import trainer, cli\n"
        "advance, stop = trainer.Trainer._advance, int(sys.argv[1])\n"
        "def limited(self, batch):\n"
        "    if self.step == stop:\n"
        "        self._save(); import os; os._exit(9)\n"
        "    return advance(self, batch)\n"
        "trainer.Trainer._advance = limited\n"
        "sys.exit(cli.main(sys.argv[2:]))\n"
    )
    words = ["train", *config, "-o", str(tmp_path / "parts"), "--steps", "12", "--resume"]
    for stop in (3, 8):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(stop), *words], check=False)
        assert done.returncode == 9
    assert cli.main(words) == 0
    whole, parts = (Release.load(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert whole.hash == parts.hash
    a, b = (checkpoint.load(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "parts"))
    assert set(a) == set(b)
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert [row["step"] for row in logs[0]] == [2, 4, 6, 8, 10, 12]
    assert logs[0][-1]["main"] == logs[1][-1]["main"]
    assert read_picture(tmp_path / "whole" / "previews" / "0000008.png").shape == (64 * 5, 64 * 4, 3)
    (events,) = (tmp_path / "whole" / "tensorboard").iterdir()
    told = [event for event in EventFileLoader(str(events)).Load() if event.HasField("summary")]
    assert [event.step for event in told if event.summary.value[0].tag == "main"] == [2, 4, 6, 8, 10, 12]
    assert json.loads((tmp_path / "whole" / "run.json").read_text())["settings"]["distortion"] == "edges"


def test_the_loss_falls_and_the_network_codes(config: list[str], tmp_path: Path) -> None:
    from icm.codecs.picture import PictureCodec

    assert train(config, tmp_path / "run", 60, "settings.learning_rate=3e-3") == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["main"] < 0.7 * rows[0]["main"]
    codec = PictureCodec("sa-icm-s", 60, weights=tmp_path / "run" / "model.safetensors")
    assert codec.decode(codec.encode(picture(64, 64))).shape == (64, 64, 3)


def test_resume_wants_the_same_settings(config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(config, tmp_path / "run", 2) == 0
    assert train([*config, "settings.lmbda_highest=9"], tmp_path / "run", 2, "--resume") == 2
    assert "lmbda_highest was 0.03, not 9.0" in capsys.readouterr().err
    assert train(config, tmp_path / "run", 5, "--resume") == 2
    assert "steps was 2, not 5" in capsys.readouterr().err
    assert train([*config, "trainer.log_steps=1"], tmp_path / "run", 2, "--resume") == 0


def test_a_torn_log_is_no_obstacle(config: list[str], tmp_path: Path) -> None:
    assert train(config, tmp_path / "run", 2) == 0
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write('{"step": 2, "ma')
    assert train(config, tmp_path / "run", 2, "--resume") == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2]


def test_weights_loaded_for_use_train_with_noise(config: list[str], tmp_path: Path) -> None:
    """Rounding has no gradient: a network left in evaluation mode would learn to spend any rate."""
    from pipelines.trainer import Trainer, TrainerSettings

    assert train(config, tmp_path / "first", 2) == 0
    weights = f"settings.weights={tmp_path / 'first' / 'model.safetensors'}"
    module, settings, _ = load_config(Path(config[0]), [config[1], weights, "settings.optimizer=muon"])
    trainer = Trainer(module.build(settings, 0), TrainerSettings(steps=2, threads=1), tmp_path / "second")
    assert trainer.model.training
    trainer.run()


def test_averaged_weights_export_with_the_bits_they_were_rounded_with(config: list[str], tmp_path: Path) -> None:
    """Either side of a power of two, model and average would choose different bits; the buffer decides for both."""
    import copy

    from tests.icm.conftest import tiny_network

    model = tiny_network()
    average = copy.deepcopy(model)
    with torch.no_grad():
        model.prior.context.weight.mul_(2.5)
    model.use_integers()
    average.use_integers()
    for mine, other in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(other)
    assert average.prior.context.bits == model.prior.context.bits
    weight, _, _ = average.prior.context.integer_parameters()
    stored = Release.from_model(average).model().prior.context.weight
    assert torch.equal(stored.double() * 2.0**average.prior.context.bits, weight)


def test_a_run_is_not_overwritten(config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(config, tmp_path / "run", 2) == 0
    assert train(config, tmp_path / "run", 2) == 2
    assert "add --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["settings.croop=3"], "unknown key croop (did you mean crop?)"),
        (["crop=3"], "is not settings.KEY=VALUE or trainer.KEY=VALUE"),
        (["settings.distortion=texture"], "'texture' is not one of all, edges, blend, objects, regions, roi, features"),
        (["settings.weights=nowhere.safetensors"], "nowhere.safetensors: neither a file nor the name"),
        (["settings.data=[{pictures: nowhere}]"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(
    config: list[str], tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train([*config, *words], tmp_path / "run", 2) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_damaged_checkpoint_is_named(config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(config, tmp_path / "run", 2) == 0
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    assert train(config, tmp_path / "run", 2, "--resume") == 2
    assert f"{path}: not a checkpoint" in capsys.readouterr().err


def test_dry_run_writes_nothing(config: list[str], tmp_path: Path) -> None:
    assert train(config, tmp_path / "run", 9, "--dry-run") == 0
    assert not (tmp_path / "run").exists()


def test_how_many_batches_are_made_ahead_changes_nothing(config: list[str], tmp_path: Path) -> None:
    for loaders in (1, 5):
        assert train(config, tmp_path / f"{loaders}", 4, f"trainer.loaders={loaders}") == 0
    assert (tmp_path / "1" / "model.safetensors").read_bytes() == (tmp_path / "5" / "model.safetensors").read_bytes()


def test_batches_are_a_function_of_their_number(data: Path) -> None:
    source = Source(data / "pictures", data / "masks")
    pictures = Pictures([source], crop=48, mask_from="masks")
    one, masks, _ = pictures.batch([5, 17], range(4))
    halves = [Pictures([source], crop=48, mask_from="masks").batch([5, 17], places) for places in ((0, 1), (2, 3))]
    assert np.array_equal(one, np.concatenate([half.x for half in halves]))
    assert one.shape == (4, 48, 48, 3)
    assert set(np.unique(masks)) <= {0, 255}
    assert not np.array_equal(one, pictures.batch([5, 18], range(4)).x)
    assert pictures.mean_fraction() == pytest.approx(20 * 27.5 / (90 * 110), rel=0.01)


def test_masks_of_another_size_are_refused(data: Path) -> None:
    write_picture(data / "masks" / "0.png", np.zeros((5, 5, 3), np.uint8))
    pictures = Pictures([Source(data / "pictures", data / "masks")], crop=48, mask_from="masks")
    with pytest.raises(ValueError, match="5x5 for a picture of another size"):
        pictures.check()
    with pytest.raises(ValueError, match="5x5 for a picture of another size"):
        pictures.load(0)
