"""vcm evaluate on a Ray cluster of this machine: the records of a local run. Apart, for Ray takes its time to start."""

from __future__ import annotations

import importlib.util

import pytest

from tests.eval.tiny import tiny_files
from tests.pipelines.test_evaluate_many import figures


def test_ray_gives_the_same_records(vcm, tmp_path):
    if not (importlib.util.find_spec("ray") and importlib.util.find_spec("pyarrow")):
        pytest.skip("needs ray: pip install 'ray[data]<2.64' 'pyarrow<26'")
    images, _ = tiny_files(tmp_path / "data")
    words = ["evaluate", "--images", images, "--codec", "jpeg:5,50"]
    assert vcm(*words, "-o", tmp_path / "one").code == 0
    done = vcm(*words, "--engine", "ray", "-o", tmp_path / "other")
    assert done.code == 0, done.err
    assert figures(tmp_path / "one") == figures(tmp_path / "other")
