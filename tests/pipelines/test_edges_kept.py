"""`vcm edges --keep-masks`: edge maps of other settings from masks on disk, without the model; a GPU a worker."""

from __future__ import annotations

import numpy as np
import pytest

from icm.edges.segmenters import sam as sam_module
from pipelines import edges_job
from tests.pipelines.test_edges import files_of, make, rows_of, told, vcm
from tests.pipelines.test_edges_scale import sam, write_clip  # noqa: F401 (sam is a fixture)


@pytest.fixture
def no_model(monkeypatch):
    """From now on a model that is asked for is a failure."""
    return lambda: monkeypatch.setattr(
        sam_module.Sam, "survivors", lambda *_: pytest.fail("the masks were there: no model is needed")
    )


def test_edges_of_other_settings_come_from_kept_masks(tmp_path, sam, no_model, capsys):  # noqa: F811
    images, _ = make(tmp_path, 4)
    keep = ["--keep-masks", str(tmp_path / "masks")]
    assert vcm(images, tmp_path / "first", "sam:vit_b", *sam, "--alpha", "0.5", *keep) == 0
    assert vcm(images, tmp_path / "plain", "sam:vit_b", *sam, "--alpha", "0.5") == 0
    assert files_of(tmp_path / "first") == files_of(tmp_path / "plain")
    other = ["--alpha", "0.5,0.55", "--dilate", "3", "--canny", "50,80"]
    assert vcm(images, tmp_path / "other", "sam:vit_b", *sam, *other) == 0
    no_model()
    assert vcm(images, tmp_path / "kept", "sam:vit_b", *sam, *other, *keep, "--batch", "1") == 0
    assert files_of(tmp_path / "kept") == files_of(tmp_path / "other")
    counts = {
        alpha: sum(row["masks"] for row in rows_of(tmp_path / "kept") if row["alpha"] == alpha) for alpha in (0.5, 0.55)
    }
    assert counts[0.5] > counts[0.55] > 0
    capsys.readouterr()

    assert vcm(images, tmp_path / "low", "sam:vit_b", *sam, "--alpha", "0.4", *keep) == 2
    assert "above alpha 0.5" in told(capsys)
    words = [word if word != "box_nms_thresh=0.9" else "box_nms_thresh=0.8" for word in sam]
    assert vcm(images, tmp_path / "low", "sam:vit_b", *words, "--alpha", "0.5", *keep) == 2
    assert "box_nms_thresh 0.9 there, 0.8 now" in told(capsys)
    weights = tmp_path / "tiny.pth"
    weights.write_bytes(weights.read_bytes() + b" ")
    assert vcm(images, tmp_path / "low", "sam:vit_b", *sam, "--alpha", "0.5", *keep) == 2
    assert "checkpoint_sha256" in told(capsys)
    assert not (tmp_path / "low").exists()


def test_kept_masks_of_another_picture_and_damaged_ones_are_refused(tmp_path, sam, capsys):  # noqa: F811
    images, _ = make(tmp_path, 4)
    words = ["sam:vit_b", *sam, "--alpha", "0.5", "--keep-masks", str(tmp_path / "masks"), "--batch", "2"]
    assert vcm(images, tmp_path / "first", *words) == 0
    (images / "p000.jpg").write_bytes((images / "p003.jpg").read_bytes())
    kept = tmp_path / "masks" / "p002.jpg.npz"
    kept.write_bytes(kept.read_bytes()[:-40])
    (tmp_path / "masks" / "p003.jpg.npz").unlink()
    capsys.readouterr()
    assert vcm(images, tmp_path / "second", *words) == 1
    text = capsys.readouterr().err
    assert "p000.jpg" in text
    assert "masks of another picture" in text
    assert "damaged masks" in text
    assert [row["picture"] for row in rows_of(tmp_path / "second")] == ["deep/p001.jpg", "p003.jpg"]
    assert (tmp_path / "masks" / "p003.jpg.npz").exists()  # made again
    (tmp_path / "masks" / "masks.json").write_text("{")
    assert vcm(images, tmp_path / "third", *words) == 2
    assert "damaged; remove" in capsys.readouterr().err


def test_masks_of_a_clip_are_kept_and_others_have_none(tmp_path, sam, no_model, capsys):  # noqa: F811
    write_clip(tmp_path / "clip.mkv", 3)
    words = ["sam:vit_b", *sam, "--alpha", "0.5", "--keep-masks", str(tmp_path / "masks")]
    assert vcm(tmp_path / "clip.mkv", tmp_path / "first", *words) == 0
    no_model()
    assert vcm(tmp_path / "clip.mkv", tmp_path / "second", *words) == 0
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")
    capsys.readouterr()
    assert vcm(tmp_path / "clip.mkv", tmp_path / "third", "felzenszwalb", "--keep-masks", str(tmp_path / "m")) == 2
    assert "it is for sam:ARCH" in told(capsys)


def test_each_worker_has_a_gpu_of_its_own():
    devices = [edges_job.device_of("auto", worker, gpus=3) for worker in range(5)]
    assert devices == ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]
    assert edges_job.device_of("cuda", 1, gpus=2) == "cuda:1"
    assert edges_job.device_of("auto", 1, gpus=0) == "auto"
    assert edges_job.device_of("auto", None, gpus=2) == "auto"
    assert edges_job.device_of("cuda:1", 0, gpus=2) == "cuda:1"
    assert edges_job.device_of("cpu", 3, gpus=2) == "cpu"


def test_workers_of_the_local_engine_are_numbered():
    from pipelines.run import engines
    from tests.pipelines.failing import make_numbering

    assert engines.number() is None
    found = set(engines.spread(range(40), make_numbering, "local", 2))
    assert found <= {0, 1}
    assert found
    assert np.all([isinstance(number, int) for number in found])
