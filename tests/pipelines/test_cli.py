"""The command itself: help that reads well, exit codes, one line an error, nothing imported that is not needed."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines import cli
from pipelines.cli import STAGES, main, stage_parser
from pipelines.media import write_picture
from pipelines.run.provenance import sha256_file

ROOT = Path(__file__).resolve().parents[2]


def test_overview_lists_every_stage(vcm) -> None:
    done = vcm("--help")
    assert done.code == 0
    assert "cannot be loaded" not in done.out
    for stage in STAGES:
        assert f"\n  {stage} " in done.out
    assert max(map(len, done.out.splitlines())) <= 120
    assert vcm().code == 2
    assert vcm("--version").out.startswith("vcm ")


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_explains_itself(vcm, stage: str) -> None:
    module = importlib.import_module(STAGES[stage])
    assert stage == module.NAME
    assert module.HELP
    assert module.HELP[0].islower()
    assert "\n" not in module.HELP
    assert f"vcm {stage}" in module.EPILOG, "examples"
    done = vcm(stage, "--help")
    assert done.code == 0
    assert done.out.startswith(f"usage: vcm {stage}")
    assert max(map(len, done.out.splitlines())) <= 130
    for action in stage_parser(stage, module)._actions:
        assert action.help, f"{action.dest} is not explained"


def test_help_and_the_container_need_no_torch() -> None:
    code = (
        "import sys; from pipelines.cli import main; main(['--help']); import icm.bitstream;"
        "heavy = {'torch', 'cv2', 'matplotlib', 'scipy', 'skimage'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "pipelines", "nonsense"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vcm: nonsense: no such stage; choose one of demo, edges")


@pytest.mark.parametrize(("error", "text"), [
    (ValueError("a.png: is\n empty"), "vcm: a.png: is empty"),
    (FileNotFoundError(2, "No such file or directory", "a.png"), "vcm: a.png: no such file or directory"),
    (ImportError("needs x: pip install x"), "vcm: needs x: pip install x"),
    (MemoryError(), "vcm: not enough memory"),
])  # fmt: skip
def test_errors_are_one_line(vcm, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    def fail(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert vcm("models") == (2, "", text + "\n")
    monkeypatch.setenv("VCM_TRACEBACK", "1")
    with pytest.raises(type(error)):
        main(["models"])


def test_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(words: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_dispatch", fail)
    with pytest.raises(ZeroDivisionError):
        main(["models"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A folder being coded is stopped: one line at most, no temporary file, what is finished stays in the manifest."""
    (tmp_path / "in").mkdir()
    noise = tmp_path / "noise.ppm"  # slow to code: the signal must find the command at work, however late it comes
    noise.write_bytes(b"P6 800 800 255\n" + os.urandom(3 * 800 * 800))
    for i in range(200):
        os.link(noise, tmp_path / "in" / f"{i:03d}.ppm")
    command = [sys.executable, "-m", "pipelines", "encode", str(tmp_path / "in"), "-o", str(tmp_path / "out"),
               "--codec", "webp:90"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    ) as process:  # fmt: skip
        while not list((tmp_path / "out").glob("[!.]*.webp")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err in ("vcm: interrupted\n", "")
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"manifest.jsonl", "run.json"} < left
    assert not [name for name in left if name.startswith(".")]
    assert 0 < len([name for name in left if name.endswith(".webp")]) < 200


def test_models(vcm) -> None:
    import json

    done = vcm("models", "--json")
    known = json.loads(done.out)
    assert {"sa-icm-s", "jpeg", "x265"} <= {codec["name"] for codec in known["codecs"]}
    assert all(len(file["file_sha256"]) == 64 and file["licence"] for file in known["weights"])
    assert "sa-icm-s" in vcm("models").out


def test_models_lists_what_evaluate_takes(vcm) -> None:
    import json

    from eval.datasets import DATASETS
    from eval.models import names

    known = json.loads(vcm("models", "--json").out)
    listed = {model["name"]: model for model in known["task_models"]}
    assert list(listed) == names()
    assert {"detection", "instances"} <= set(listed["mask-rcnn-scenes"]["tasks"])
    assert listed["torchvision:fcos_resnet50_fpn"]["tasks"] == ["detection"]
    zoo = listed["detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x"]
    assert zoo["tasks"] == ["detection"] or "pip install" in zoo["needs"]
    assert {kind["name"] for kind in known["datasets"]} == set(DATASETS)
    assert all(kind["about"].endswith(".") for kind in known["datasets"])
    assert "mask-rcnn-scenes " in vcm("models").out.split("task models")[1].split("weights that are shipped")[0]


def test_models_loads_no_torch() -> None:
    code = "import sys; from pipelines.cli import main; main(['models', '--json']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_models_shows_the_hash_of_streams(vcm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prominent hash is the one of `vcm info`; a licence in the metadata or in the card counts."""
    import json

    import icm
    from icm.codecs.release import Release
    from tests.icm.conftest import tiny_network

    (tmp_path / "icm" / "weights").mkdir(parents=True)
    network = tiny_network()
    network.use_integers()
    release = Release.from_model(network)
    path = tmp_path / "icm" / "weights" / "tiny.safetensors"
    release.save(path)
    codec = icm.CODECS["sa-icm-s"](20, weights=path)
    monkeypatch.setattr(icm, "__file__", str(tmp_path / "icm" / "__init__.py"))
    write_picture(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "a.vcm").write_bytes(codec.encode(np.zeros((8, 8, 3), np.uint8)))
    shown = json.loads(vcm("info", tmp_path / "a.vcm", "--json").out)["weights_sha256_first8"]
    (mine,) = [file for file in json.loads(vcm("models", "--json").out)["weights"] if file["name"] == "tiny"]
    assert mine["weights_sha256_first8"] == shown
    assert mine["file_sha256"] == sha256_file(path)
    assert (mine["licence"], "sha256" in mine["card"]) == ("Apache-2.0", False)
    text = vcm("models").out
    assert f"weights {shown}..." in text
    assert f"sha256 of the file {sha256_file(path)}" in text
    assert release.hash.hex() not in text
    path.with_suffix(".json").write_text('{"license": "CC0-1.0"}')
    assert "CC0-1.0" in vcm("models").out


@pytest.mark.parametrize("stage", STAGES)
def test_examples_of_every_stage_are_accepted(stage: str) -> None:
    """The command lines in a stage's help parse; words after a gap of three spaces are remarks."""
    module = importlib.import_module(STAGES[stage])
    lines = [line.strip() for line in module.EPILOG.replace("\\\n", " ").splitlines()]
    examples = [line for line in lines if line.startswith(f"vcm {stage}")]
    assert examples
    for line in examples:
        # a remark follows a gap, and so does the rest of a command that was broken in two
        command = line if "  -" in line else re.split(r" {3,}", line)[0]
        words = shlex.split(command.partition(" | ")[0])[2:]
        stage_parser(stage, module).parse_intermixed_args(words)
