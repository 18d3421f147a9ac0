"""Maps of qualities: coded cell by cell, chosen from what matters."""

from __future__ import annotations

import numpy as np
import pytest

from icm.bitstream import Decoder, Desynchronised, Encoder, StreamError
from icm.quality_map import (
    DEEPEST,
    QualityMap,
    Roi,
    cell_means,
    from_importance,
    from_mask,
    grid,
    saliency,
    tables,
    walk_cells,
)
from tests.icm.conftest import picture


def coded(depths: np.ndarray) -> bytes:
    encoder = Encoder()
    walk_cells(encoder, *depths.shape, depths)
    return encoder.finish()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 5), (3, 17), (16, 12)])
@pytest.mark.parametrize("highest", [0, 1, DEEPEST])
def test_every_grid_comes_back(shape: tuple[int, int], highest: int) -> None:
    depths = np.random.default_rng([*shape, highest]).integers(0, highest + 1, shape).astype(np.uint8)
    decoder = Decoder(coded(depths))
    assert np.array_equal(walk_cells(decoder, *shape), depths)
    decoder.finish()


def test_a_blob_costs_a_few_bytes() -> None:
    depths = np.ones((20, 30), np.uint8)
    depths[5:12, 8:20] = 0
    assert len(coded(depths)) <= 30  # 75 with a bit a cell
    assert len(coded(depths[:8, :10])) <= 8


def test_depths_that_do_not_exist_are_refused() -> None:
    encoder = Encoder()
    encoder.code(tables(), np.array([5]), np.array([DEEPEST + 1]))
    with pytest.raises(Desynchronised, match="does not exist"):
        walk_cells(Decoder(encoder.finish()), 1, 1)
    with pytest.raises(ValueError, match="0 to 7, not 0 to 9"):
        QualityMap(Roi(32, 20), np.array([[0, 9]]))


def test_no_two_symbols_of_a_table_are_equally_likely() -> None:
    """Else one could turn into the other and leave no trace in the coder's state."""
    assert all(len(set(row.tolist())) == len(row) for row in tables().rows)


def test_roi_in_two_bytes() -> None:
    for roi in (Roi(16, 1), Roi(32, 20), Roi(64, 99)):
        assert Roi.from_bytes(roi.to_bytes()) == roi
    for data in (b"\x03\x14", b"\x07\x14", b"\xff\x14", b"\x05\x00", b"\x05\x64"):
        with pytest.raises(StreamError, match="damaged"):
            Roi.from_bytes(data)
    assert Roi(32, 20).codes(480) == [480, 160, 16, 16, 16, 16, 16, 16]


def test_means_of_whole_and_cut_cells() -> None:
    values = np.arange(70 * 50, dtype=float).reshape(70, 50)
    means = cell_means(values, 32)
    assert means.shape == grid(70, 50, 32) == (3, 2)
    assert means[2, 1] == pytest.approx(values[64:, 32:].mean())
    assert means[0, 0] == pytest.approx(values[:32, :32].mean())


def test_choosing() -> None:
    mask = np.zeros((100, 130), np.uint8)
    mask[40, 70] = 1
    depths = from_mask(mask, Roi(32, 20)).depths
    assert depths.sum() == depths.size - 1
    assert depths[1, 2] == 0
    importance = np.random.default_rng(0).random((320, 320))
    assert (from_importance(importance, Roi(32, 20), 0.3).depths == 0).sum() == 30
    assert from_importance(np.zeros((64, 64)), Roi(32, 20)).flat, "where nothing stands out, nothing is taken away"
    assert from_importance(importance, Roi(64, 20), 1.0).flat


def test_what_stands_out_is_salient() -> None:
    plain = np.full((200, 300, 3), 90, np.uint8)
    plain[80:120, 130:180] = (220, 40, 40)
    found = saliency(plain)
    assert found.shape == (200, 300)
    assert found[80:120, 130:180].mean() > 5 * found[:40].mean()
    for height, width in ((1, 1), (1, 40), (33, 2)):
        tiny = saliency(picture(height, width))
        assert tiny.shape == (height, width)
        assert np.isfinite(tiny).all()
