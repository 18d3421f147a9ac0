"""The quality that is found is the best that fits, on sizes that grow, shrink, jump or stay."""

from __future__ import annotations

import math

import pytest

from pipelines.rate import fit


@pytest.mark.parametrize("size", [
    lambda q: round(20 * math.exp(q / 18)),
    lambda q: round(20 * math.exp((100 - q) / 18)),
    lambda q: 100 + 7 * round(q),
    lambda q: 50 if q < 70 else 5000,
    lambda q: 1000,
], ids=["grows", "shrinks", "linear", "jumps", "stays"])  # fmt: skip
@pytest.mark.parametrize("step", [1, 1 / 16])
@pytest.mark.parametrize("target", [90, 150, 1000, 1001, 4999, 10**6])
def test_best_that_fits(size, step: float, target: int) -> None:  # type: ignore[no-untyped-def]
    made = []

    def encode(quality: float) -> bytes:
        made.append(quality)
        return b"x" * size(quality)

    grid = [1 + i * step for i in range(round(99 / step) + 1)]
    possible = [q for q in grid if size(q) <= target]
    if not possible:
        with pytest.raises(ValueError, match=rf"a: cannot be made {target} bytes; .*{min(map(size, grid))} bytes"):
            fit(encode, target, 1, 100, step, "a")
        return
    found = fit(encode, target, 1, 100, step, "a")
    assert len(found.data) == size(found.quality) == max(map(size, possible))
    assert set(made) <= set(grid)
    assert len(made) <= 2 + 2 * math.ceil(math.log2(len(grid)))


def test_wiggles_still_fit() -> None:
    size = {q: 100 + 10 * q + (-1) ** q * 7 for q in range(1, 101)}
    for target in range(120, 1100, 13):
        found = fit(lambda q: b"x" * size[round(q)], target, 1, 100, 1)
        assert len(found.data) <= target
        assert found.quality == 100 or size[round(found.quality) + 1] > target
