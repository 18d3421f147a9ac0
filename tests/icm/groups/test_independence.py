"""No byte and no pixel of a group depends on another group: not through windows, hyper data, coders, nor rounding."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from icm.bitstream import read, write
from icm.codecs.groups.codec import GroupsCodec
from icm.codecs.groups.layout import Layout, of_maps
from icm.codecs.groups.transforms import Attention
from icm.groups import GroupMask
from icm.groups.stream import extract
from tests.icm.groups.conftest import random_mask, random_picture, tiny_network


def garbled(data: bytes, kept: int, rng: np.random.Generator) -> bytes:
    """The file with noise in every section but those of the mask and of a group; checksums are left as they were."""
    out = bytearray(data)
    with read(data) as stream:
        for name, offset, length in stream.layout():
            number = name.removeprefix("section ")
            if number.isdecimal() and int(number) not in (0, kept + 1):
                out[offset : offset + length] = rng.bytes(length)
    return bytes(out)


def replaced(data: bytes, kept: int, rng: np.random.Generator) -> bytes:
    """The same with checksums that fit the noise: what a decoder tries to decode."""
    with read(data) as stream:
        sections = [s if i in (0, kept + 1) else rng.bytes(len(s)) for i, s in enumerate(stream.sections())]
        return write(stream.header, sections)


def test_50_pictures(codec: GroupsCodec) -> None:
    """Dropping or garbling all other groups' bytes leaves a group's pixels as they are, bit for bit."""
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(50):
        height, width = (int(n) for n in rng.integers(17, 90, 2))
        mask, picture = random_mask(rng, height, width), random_picture(rng, height, width)
        data = codec.encode(picture, mask)
        whole, of, group = codec.decode(data), mask.pixels(), int(rng.integers(mask.count))
        with read(data) as stream:
            alone = codec.decode(extract(stream, [group]))
        assert np.array_equal(alone[of == group], whole[of == group])
        assert (alone[of != group] == 128).all()
        for broken in (garbled(data, group, rng), replaced(data, group, rng)):
            with read(broken, partial=True) as stream:
                shown, lost, approximate = codec.decode_partial(stream)
                assert np.array_equal(shown[of == group], whole[of == group])
                assert not approximate
                assert len({reason.split(":")[0] for reason in lost.values()}) == mask.count - 1
                chosen, lost, _ = codec.decode_partial(stream, groups=[group])
            assert np.array_equal(chosen, alone)
            assert not lost
        counts.append(mask.count)
    assert max(counts) >= 5


def test_the_same_of_locked_groups(codec: GroupsCodec) -> None:
    """Locked persons: their pixels with the key, the others' without, whatever became of the rest."""
    pytest.importorskip("cryptography")
    rng, key = np.random.default_rng(1), os.urandom(32)
    tried = 0
    while tried < 6:
        mask, picture = random_mask(rng, 70, 100), random_picture(rng, 70, 100)
        persons = [i for i, name in enumerate(mask.names) if name == "person"]
        if not persons or len(persons) == mask.count:
            continue
        tried += 1
        open_data, data = codec.encode(picture, mask), codec.encode(picture, mask, locks=[(["person"], key)])
        whole, of = codec.decode(open_data), mask.pixels()
        locked = np.isin(of, persons)
        assert np.array_equal(codec.decode(data, keys=[key]), whole)
        assert np.array_equal(codec.decode(data)[~locked], whole[~locked])
        assert (codec.decode(data)[locked] == 128).all()
        for group in (persons[0], next(i for i in range(mask.count) if i not in persons)):
            for broken in (garbled(data, group, rng), replaced(data, group, rng)):
                with read(broken, partial=True) as stream:
                    shown, _, _ = codec.decode_partial(stream, groups=[group], keys=[key])
                assert np.array_equal(shown[of == group], whole[of == group])


def test_bytes_do_not_depend_on_other_groups_pixels(codec: GroupsCodec) -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        mask, picture = random_mask(rng, 60, 80), random_picture(rng, 60, 80)
        group = int(rng.integers(mask.count))
        other = np.where((mask.pixels() == group)[..., None], picture, rng.integers(0, 256, picture.shape, np.uint8))
        with read(codec.encode(picture, mask)) as a, read(codec.encode(other, mask)) as b:
            assert a.section(group + 1) == b.section(group + 1)


def test_groups_and_rest_of_the_mask(codec: GroupsCodec) -> None:
    """Nor do a group's bytes depend on how the rest is divided."""
    rng = np.random.default_rng(3)
    picture, ids = random_picture(rng, 64, 96), np.zeros((4, 6), np.uint8)
    ids[1:3, 2:5] = 1
    finer = ids.copy()
    finer[3:] = 2
    with read(codec.encode(picture, GroupMask(ids, ("a", "b"), 64, 96))) as a, \
         read(codec.encode(picture, GroupMask(finer, ("a", "b", "c"), 64, 96))) as b:  # fmt: skip
        assert a.section(2) == b.section(2)
        assert a.section(1) != b.section(1)


@pytest.mark.parametrize("shift", [0, 4])
def test_shifted_window_aliasing(shift: int) -> None:
    """Two tokens share a window exactly where group AND place do.

    A mask made of the sum of group and region would take group 1 in region 2 and group 2 in region 1 for the same: the
    picture has such pairs, and one that a cyclic shift brings together.
    """
    rng = np.random.default_rng(4)
    groups = rng.integers(0, 9, (2, 5, 6))
    layout, picture = of_maps(groups)
    tokens = 4
    windows = layout.windows(tokens, shift)
    y = (layout.row[:, None, None] * tokens + np.arange(tokens)[:, None] + np.zeros(tokens, int)).ravel()
    x = (layout.col[:, None, None] * tokens + np.arange(tokens) + np.zeros((tokens, 1), int)).ravel()
    group, of = groups.ravel().repeat(tokens**2), picture.repeat(tokens**2)
    key = np.stack([of, group, (y + shift) // 8, (x + shift) // 8], 1)
    window = windows.place.numpy() // 64
    same = (key[:, None] == key).all(-1)
    assert np.array_equal(window[:, None] == window, same)
    region = (y + shift) // 8 * 9 + (x + shift) // 8
    aliased = (of[:, None] == of) & ((group + region)[:, None] == group + region)
    assert (aliased & ~same).any()
    # and so does attention: what a token becomes has no derivative by any token that is not in its window
    attention = Attention(4, 2).double()
    values = torch.randn(len(y), 4, dtype=torch.float64, requires_grad=True)
    out = attention(values, windows)
    for token in rng.integers(0, len(y), 12):
        (gradient,) = torch.autograd.grad(out[token].square().sum(), values, retain_graph=True)
        assert np.array_equal(gradient.abs().sum(1).numpy() > 0, same[token])


def test_attention_in_windows_is_attention() -> None:
    """Against plain attention over all tokens with a mask of pairs."""
    torch.manual_seed(0)
    layout, _ = of_maps(np.random.default_rng(5).integers(0, 3, (1, 3, 4)))
    attention, windows = Attention(6, 2).double(), layout.windows(8, 4)
    torch.nn.init.normal_(attention.bias)
    x = torch.randn(len(layout) * 64, 6, dtype=torch.float64)
    q, k, v = attention.qkv(x).view(-1, 3, 2, 3).permute(1, 2, 0, 3)
    window, slot = windows.place // 64, windows.place % 64
    relative = attention.relative[slot[:, None], slot]
    scores = q @ k.transpose(1, 2) / 3**0.5 + attention.bias[relative].permute(2, 0, 1)
    scores = scores.masked_fill(window[:, None] != window, -torch.inf)
    plain = attention.out((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
    assert torch.allclose(attention(x, windows), plain, atol=1e-12)


def test_a_layout_is_of_its_own_cells_alone() -> None:
    rng = np.random.default_rng(6)
    groups = rng.integers(0, 3, (1, 6, 7))
    row, col = np.nonzero(groups[0] == 1)
    alone, (every, _) = Layout(np.zeros(len(row), int), row, col), of_maps(groups)
    at = np.flatnonzero(groups.ravel() == 1)
    for tokens, shift in ((8, 0), (4, 4), (1, 0), (1, 4)):
        a, b = alone.windows(tokens, shift).place, every.windows(tokens, shift).place
        b = b.view(-1, tokens**2)[at].ravel()
        assert torch.equal(a % 64, b % 64)
        assert torch.equal((a[:, None] // 64 == a // 64), (b[:, None] // 64 == b // 64))


def test_training_sees_what_streams_do(codec: GroupsCodec) -> None:
    """One pass over all groups of a batch gives the pictures that files give, but for the last bits of floats."""
    from tests.icm.groups.conftest import random_mask

    rng, net = np.random.default_rng(7), tiny_network()
    net.use_integers()
    masks = [random_mask(rng, 64, 80) for _ in range(3)]
    pictures = [random_picture(rng, 64, 80) for _ in masks]
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(np.stack([mask.pixels() for mask in masks]).astype(np.int64))
    with torch.no_grad():
        out = net(x, torch.full((3,), 30.0), labels)
    assert all(torch.isfinite(p).all() and (p > 0).all() for p in out["likelihoods"].values())
    for i, (mask, picture) in enumerate(zip(masks, pictures, strict=True)):
        shown = codec.decode(codec.encode(picture, mask)).astype(float)
        x_hat = out["x_hat"][i].clamp(0, 1).permute(1, 2, 0).numpy() * 255
        assert np.abs(shown - x_hat).mean() < 1.5


def test_random_groups_of_training() -> None:
    from icm.groups.random_groups import pieces, random_groups

    rng = np.random.default_rng(8)
    counts = [len(np.unique(random_groups(rng, 15, 16))) for _ in range(400)]
    assert 0.4 < np.mean(np.array(counts) == 1) < 0.65
    assert max(counts) > 5
    assert pieces(np.array([[1, 0, 1], [0, 0, 1]])).tolist() == [[1, 0, 2], [0, 0, 2]]
    net = tiny_network().train()
    torch.manual_seed(1)
    first = net.groups(8, 4, 4, None)
    torch.manual_seed(1)
    assert np.array_equal(net.groups(8, 4, 4, None), first)
    assert net.eval().groups(8, 4, 4, None).max() == 0
