"""The benchmark's bookkeeping; its figures are read by people."""

from __future__ import annotations

import importlib
import pkgutil
import time

import numpy as np
import pytest

import benchmarks
from benchmarks.__main__ import measure, texture


class Slow:
    """Sleeps, so that wall-clock passes and processor time does not."""

    def encode(self, picture: np.ndarray) -> bytes:
        time.sleep(0.03)
        return bytes(64)

    def decode(self, data: bytes) -> None:
        assert len(data) == 64


def test_medians_and_rates() -> None:
    (row,) = measure({"slow": Slow()}, np.zeros((16, 32, 3), np.uint8), repeats=3)
    assert row["bytes"] == 64
    assert row["rate_bpp"] == 1.0
    assert row["encode_s"] >= 0.03 > row["decode_s"]
    assert row["encode_cpu_s"] < 0.03


def test_the_texture_is_no_flat_field() -> None:
    picture = texture()
    assert picture.shape == (512, 768, 3)
    assert picture.std() > 15
    assert np.array_equal(picture, texture())


MODULES = [info.name for info in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_every_benchmark_can_be_loaded(name: str) -> None:
    """None is run here, so nothing else would tell that what it takes from another file has moved."""
    importlib.import_module(name)
