"""No code in data: no loader of the project runs what a file holds; each refuses it in one line that names the file.

Every file of tests/pipelines/evil.py goes through every loader that could be given it. `mark` is a folder that they
would make.
"""

from __future__ import annotations

import contextlib
import copyreg
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import icm
from eval.anchors.compressai_zoo import _read as read_compressai
from eval.datasets import DATASETS
from eval.metrics import scores
from eval.models import build as task_model
from eval.models.detectron2_files import read_checkpoint
from eval.models.official import _state
from eval.models.onnx_description import read_description
from eval.models.weights import read as read_task_weights
from eval.privacy.embedders import build_embedder
from eval.privacy.utility import FastestDet
from icm.bitstream import Damaged, Header, read
from icm.bitstream.fields import crc32c, varint
from icm.codecs.checkpoints import state_dict
from icm.codecs.release import Release
from icm.edges.segmenters.bsds import read_mat
from icm.edges.segmenters.kept import load as load_kept
from icm.edges.segmenters.sam import Sam
from nerv.losses import Features
from nerv.published import load as load_hnerv
from pipelines.evaluate_models import TUNED, tuned_on
from pipelines.run import checkpoint
from pipelines.run.batch import EXPECTED, one_line
from pipelines.run.settings import read_yaml
from tests.eval.models.tiny_onnx import write_external
from tests.pipelines import evil
from tests.pipelines.conftest import Done

Loader = Callable[[Path], Any]
LOADERS: dict[str, tuple[str, Loader]] = {  # with the suffix by which each knows what it is given
    "hnerv": (".pth", load_hnerv),
    "image codecs": (".pth", state_dict),
    "compressai": (".pth", read_compressai),
    "compressai, safetensors": (".safetensors", read_compressai),
    "sam": (".pth", lambda path: Sam("vit_b", path, "cpu")._load(path)),
    "sam, safetensors": (".safetensors", lambda path: Sam("vit_b", path, "cpu")._load(path)),
    "backbones": (".pth", lambda path: Features("squeezenet1_1", str(path), ("features.4",))),
    "torchvision": (".pth", _state),
    "detectron2": (".pth", read_checkpoint),
    "detectron2, pickle": (".pkl", read_checkpoint),
    "detectron2, safetensors": (".safetensors", read_checkpoint),
    "task models": (".safetensors", read_task_weights),
    "fine-tuned": (".safetensors", tuned_on),
    "releases": (".safetensors", Release.load),
    "checkpoints": (".safetensors", checkpoint.load),
    "sa-icm-s": (".safetensors", lambda path: icm.CODECS["sa-icm-s"](weights=path)),
    "segpic": (".safetensors", lambda path: icm.CODECS["segpic"](weights=path)),
    "groups": (".safetensors", lambda path: icm.CODECS["groups"](weights=path)),
    "onnx": (".onnx", lambda path: task_model(f"onnx:{path}").predict([np.zeros((64, 64, 3), np.uint8)])),
    "embedders": (".onnx", lambda path: build_embedder(str(path))),
    "person detector": (".onnx", lambda path: FastestDet(str(path))),
    "scores": (".npz", scores.load),
    "kept masks": (".npz", lambda path: load_kept(path, np.zeros((4, 4, 3), np.uint8))),
    "bsds": (".mat", read_mat),
    "settings": (".yaml", read_yaml),
    "onnx description": (".yaml", read_description),
}
READ_NOTES = ("releases", "checkpoints", "sa-icm-s", "segpic", "groups")  # others look at the tensors alone


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What must not come to be."""
    yield tmp_path / "mark"
    assert not (tmp_path / "mark").exists(), "code in a file was run"


def refused(loader: Loader, path: Path, named: Path | None = None) -> str:
    """The one line by which a loader refuses a file; it names it, or what lies below `named`."""
    try:
        loader(path)
    except EXPECTED as error:
        line = str(error) if not isinstance(error, OSError) or error.errno is None else one_line(error)
        assert "\n" not in line.strip()
        assert str(named or path) in line
        assert len(line) - len(str(path)) < 400
        return line
    pytest.fail(f"{path.name}: was not refused")


@pytest.mark.parametrize("kind", evil.PICKLES)
def test_the_pickles_are_evil(kind: str, tmp_path: Path) -> None:
    """A loader that trusts them runs them: else the tests below would show nothing."""
    data = evil.PICKLES[kind](str(tmp_path / "mark"))
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with contextlib.suppress(Exception):
        if kind in evil.PLAIN_PICKLES:
            pickle.loads(data)
        else:
            torch.load(path, weights_only=False)
    assert (tmp_path / "mark").is_dir()
    if kind == "extension":
        copyreg.remove_extension("os", "mkdir", 213)


def test_there_are_enough() -> None:
    assert len(evil.PICKLES) >= 20


@pytest.mark.parametrize("loader", LOADERS)
def test_no_pickle_runs_in_any_loader(loader: str, tmp_path: Path, mark: Path) -> None:
    suffix, load = LOADERS[loader]
    for kind, make in evil.PICKLES.items():
        path = tmp_path / f"{kind}{suffix}"
        path.write_bytes(make(str(mark)))
        refused(load, path)
        assert not mark.exists(), kind


@pytest.mark.parametrize("kind", evil.PICKLES)
@pytest.mark.parametrize("arch", ["hnerv", "tcm", "segpic"])
def test_convert_runs_none(vcm, kind: str, arch: str, tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(evil.PICKLES[kind](str(mark)))
    out = tmp_path / ("a.vcm" if arch == "hnerv" else "a.safetensors")
    command = ("convert", path, "-o", out, "--arch", arch)
    for words in (command, (*command, "--trust")):
        done: Done = vcm(*words)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith(f"vcm: {path}: ")
    assert not out.exists()


@pytest.mark.parametrize("loader", [name for name, (suffix, _) in LOADERS.items() if suffix == ".safetensors"])
def test_safetensors_that_lie(loader: str, tmp_path: Path) -> None:
    for kind, data in evil.SAFETENSORS.items():
        path = tmp_path / f"{kind.replace(' ', '-').replace('^', '')}.safetensors"
        path.write_bytes(data)
        if kind != "deep settings" or loader in READ_NOTES:
            refused(LOADERS[loader][1], path)


def test_a_note_of_fine_tuning_is_json(tmp_path: Path) -> None:
    for note in ("[", evil.DEEP.decode(), "3"):
        save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={TUNED: note})
        refused(tuned_on, tmp_path / "a.safetensors")


@pytest.mark.parametrize("kind", evil.YAMLS)
def test_yaml_makes_no_objects(vcm, kind: str, tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(evil.YAMLS[kind](str(mark)))
    for loader in (read_yaml, read_description):
        refused(loader, path)
    for words in (("train", path), ("evaluate", path, "-o", tmp_path / "run")):
        done: Done = vcm(*words)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert str(path) in done.err
    word = f"a={evil.YAMLS[kind](str(mark)).partition(': ')[2].strip()}"
    (tmp_path / "good.yaml").write_text("seed: 1\n")
    assert vcm("train", tmp_path / "good.yaml", word).code == 2


@pytest.mark.parametrize("loader", ["scores", "kept masks"])
def test_arrays_of_objects(loader: str, tmp_path: Path, mark: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(evil.npz(str(mark)))
    refused(LOADERS[loader][1], path)


@pytest.mark.parametrize("loader", ["onnx", "embedders", "person detector"])
@pytest.mark.parametrize("place", ["../secret.bin", "../../etc/passwd", "/etc/passwd", "link.bin"])
def test_onnx_reads_no_file_outside_its_folder(loader: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.bin").write_bytes(np.float32(9).tobytes())
    (tmp_path / "in" / "link.bin").symlink_to(tmp_path / "secret.bin")
    refused(LOADERS[loader][1], write_external(tmp_path / "in" / "a.onnx", place))


JSON_STAGES = {
    "evaluate": lambda a, b: ("evaluate", "--images", a, "--annotations", b, "--codec", "jpeg:30", "--task",
                              "detection", "--model", "mask-rcnn-scenes", "-o", a.parent / "run"),
    "edges": lambda a, b: ("edges", a, "-o", a.parent / "edges", "--segmenter", f"labels:{b}"),
    "groups": lambda a, b: ("encode", a / "a.png", "-o", a / "a.vcm", "--codec", "groups", "--groups-from", b,
                            "--weights", Path(__file__).parents[1] / "conformance" / "tiny-groups.safetensors"),
    "roi": lambda a, b: ("encode", a / "a.png", "-o", a / "a.vcm", "--codec", "sa-icm-s", "--roi", b),
}  # fmt: skip


@pytest.mark.parametrize("stage", JSON_STAGES)
@pytest.mark.parametrize("kind", ["deep", "pickle", "cut"])
def test_annotations_are_data(vcm, stage: str, kind: str, tmp_path: Path, mark: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "pictures" / "a.png")
    path = tmp_path / "labels.json"
    path.write_bytes({"deep": evil.DEEP, "pickle": evil.system(str(mark)), "cut": b'{"images": [{"id": 1'}[kind])
    done: Done = vcm(*JSON_STAGES[stage](tmp_path / "pictures", path))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert str(path) in done.err


@pytest.mark.parametrize("kind", DATASETS)
def test_labels_of_every_data_set_are_data(kind: str, tmp_path: Path, mark: Path) -> None:
    """As a file, and as the folder of texts or the place below the pictures that some look in."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder in (images, images / "gt", labels):
        folder.mkdir()
    Image.new("RGB", (32, 32)).save(images / "a.png")
    for data in (evil.DEEP, evil.system(str(mark)), evil.stack_global(str(mark)), evil.npz(str(mark))):
        for path in (tmp_path / "labels.json", tmp_path / "labels.csv", labels / "a.txt", images / "gt" / "gt.txt"):
            path.write_bytes(data)
        for given in (tmp_path / "labels.json", tmp_path / "labels.csv", labels):
            refused(lambda path: DATASETS[kind](images, annotations=path), given, tmp_path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", "..", "C:\\x", "a\0b", "os.system('x')"])
def test_a_name_in_a_stream_is_no_path(vcm, name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a model's name"):
        Header("picture", 8, 8, name, bytes(8))
    body = bytes([0, 7, 7]) + varint(len(name)) + name.encode() + bytes(8) + bytes([0, 0, 0]) + crc32c(b"").to_bytes(4)
    start = b"VCM\x10" + varint(len(body)) + body
    data = start + crc32c(start).to_bytes(4, "little")
    data += crc32c(data).to_bytes(4, "little")
    with pytest.raises(Damaged, match="a model's name"):
        read(data)
    (tmp_path / "a.vcm").write_bytes(data)
    for words in (("info", tmp_path / "a.vcm"), ("decode", tmp_path / "a.vcm", "-o", tmp_path / "a.png")):
        done: Done = vcm(*words)
        assert (done.code, done.err.count("\n")) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.vcm"]
