"""Tables: what is refused, what is hashed, what they cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from icm.bitstream import Encoder, Tables
from icm.bitstream.build_tables import from_pmfs, gaussian

SMALL = Tables([[65536], [40000, 25000, 536], [1, 65535]], [7, -1, 2])


@pytest.mark.parametrize(
    ("frequencies", "offsets", "message"),
    [
        ([], np.zeros(0, int), "1 to 65536 tables"),
        ([[65536]], [0, 1], "as many offsets"),
        ([[65535]], [0], "sum to 65535"),
        ([[0, 65536]], [0], "at least 1"),
        ([[]], [0], "row of integers|empty"),
        ([np.zeros(0, int)], [0], "empty"),
        ([[0.5, 0.5]], [0], "row of integers"),
        ([[[65536]]], [0], "row of integers"),
        ([[-1, 65537]], [0], "at least 1"),
        ([[1] * 65537], [0], "65537 entries"),
        ([[1, 1, 65534]], [2**31 - 1], "int32"),
        ([[65536]], [-(2**31) - 1], "int32"),
        ([[65536]], [0.0], "row of integers"),
    ],
)
def test_bad_tables_are_refused(frequencies, offsets, message):
    with pytest.raises(ValueError, match=message) as caught:
        Tables(frequencies, offsets)
    assert "\n" not in str(caught.value)


def test_padded_rows_are_the_same_tables():
    matrix = np.array([[65536, 0, 0], [40000, 25000, 536], [1, 65535, 9]])
    assert Tables.padded(matrix, [1, 3, 2], [7, -1, 2]).sha256() == SMALL.sha256()
    for sizes in ([0, 3, 2], [1, 4, 2], [1, 3]):
        with pytest.raises(ValueError, match="sizes"):
            Tables.padded(matrix, sizes, [7, -1, 2])


def test_arrays_round_trip_and_are_checked():
    arrays = SMALL.to_arrays()
    assert {name: array.dtype for name, array in arrays.items()} == dict.fromkeys(arrays, np.dtype(np.int32))
    assert Tables.from_arrays(arrays).sha256() == SMALL.sha256()
    with pytest.raises(ValueError, match="lack sizes"):
        Tables.from_arrays({k: v for k, v in arrays.items() if k != "sizes"})
    with pytest.raises(ValueError, match="have 5 frequencies"):
        Tables.from_arrays({**arrays, "frequencies": arrays["frequencies"][:-1]})
    with pytest.raises(ValueError, match=r"at least 1|sum to"):
        Tables.from_arrays({**arrays, "frequencies": arrays["frequencies"][::-1]})


def test_the_hash_is_of_every_integer():
    assert SMALL.sha256() == "c13ff9ede2c35b08e14d71df0b924fe9fe6a465dd9d5827a1729befec54c90ca"
    assert SMALL.sha256() != Tables([[65536], [40001, 24999, 536], [1, 65535]], [7, -1, 2]).sha256()
    assert SMALL.sha256() != Tables([[65536], [40000, 25000, 536], [1, 65535]], [7, -1, 3]).sha256()


def test_tables_do_not_change():
    with pytest.raises(ValueError, match="read-only"):
        SMALL.rows[1][0] = 5


def test_gaussian_tables_cost_little_more_than_the_entropy():
    scales = np.geomspace(0.1, 60, 24)
    tables = gaussian(scales)
    rng = np.random.default_rng(1)
    for i, scale in enumerate(scales):
        k = np.arange(-1200, 1201)
        edges = (np.abs(k)[:, None] + [-0.5, 0.5]) / (scale * math.sqrt(2))
        p = np.array([(math.erfc(a) - math.erfc(b)) / 2 for a, b in edges])
        entropy = -(p[p > 0] * np.log2(p[p > 0])).sum()
        row, offset = tables.rows[i], int(tables.offsets[i])
        assert offset == -(len(row) - 2 + offset)  # symmetric
        symbols = rng.choice(k, 4000, p=p / p.sum())
        index = np.full(len(symbols), i)
        expected = sum(p[j] * tables.estimated_bits([i], [k[j]]) for j in np.flatnonzero(p > 1e-12))
        assert entropy <= expected <= entropy * 1.0005 + 0.0005
        coder = Encoder()
        coder.code(tables, index, symbols)
        assert abs(8 * len(coder.finish()) - tables.estimated_bits(index, symbols)) < 48


def test_scale_zero_is_never_coded_and_zero_probabilities_are_possible():
    tables = gaussian([0, 0.5])
    assert tables.sizes[0] == 1
    assert tables.offsets[0] == 0
    rows = from_pmfs([np.array([0.5, 0.0, 0.5]), np.array([1.0])], [-1, 4])
    assert rows.rows[0].min() == 1
    assert rows.offsets.tolist() == [-1, 4]


@pytest.mark.parametrize("pmf", [[], [np.nan], [0.6, 0.6], [-0.1, 0.5], [0.0, 0.0]])
def test_what_is_no_distribution_is_refused(pmf):
    with pytest.raises(ValueError, match="row of probabilities"):
        from_pmfs([np.array(pmf, float)], [0])
    with pytest.raises(ValueError, match="scale"):
        gaussian([float("nan")])
