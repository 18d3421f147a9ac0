"""Integer tables: they sum, they are near the distribution, and their hash changes only on purpose."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nerv.coding.bells import NARROWEST, SHAPES, TOTAL, WIDEST, centred, cumulative, digest, frequencies, uniform


def test_the_tables_of_every_file_ever_written() -> None:
    assert digest()[:8].hex() == "028d7e37ab7e4f57"  # a change makes old files unreadable: add tables, never change


@pytest.mark.parametrize("width", [NARROWEST, -9, 0, 13, 45, WIDEST])
def test_cumulative_is_the_normal_distribution(width: int) -> None:
    x = np.arange(-300, 301)
    exact = np.array([0.5 * math.erfc(-v / 2 / 2 ** (width / 8) / math.sqrt(2)) for v in x.tolist()])
    assert np.abs(cumulative(x, width) / 2**30 - exact).max() < 4e-4  # OCTAVE has nine bits
    assert (np.diff(cumulative(x, width)) >= 0).all()


@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize(("centre", "width"), [(128, 45), (0, 60), (-200, 20), (300, 0), (17, NARROWEST), (9, WIDEST)])
def test_frequencies_sum(shape: int, centre: int, width: int) -> None:
    row = frequencies(0, 255, centre, width, shape)
    assert len(row) == 257
    assert row.sum() == TOTAL
    assert row.min() >= 1


def test_tables_without_limits_cover_five_deviations() -> None:
    tables = centred((0, 24), 0)
    assert [len(row) for row in tables.rows] == [2 * 7 + 2, 2 * 42 + 2]
    assert tables.offsets.tolist() == [-7, -42]


def test_uniform() -> None:
    assert uniform(3).rows[0].tolist() == [21845, 21845, 21845, 1]
