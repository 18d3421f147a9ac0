"""Clips of changed tiles: what was sent comes back, any frame alone, damage is confined and named."""

from __future__ import annotations

import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

import icm
from icm.bitstream import CHANGED_TILES, Damaged, Decoder, Encoder, StreamError, read, write
from icm.codecs.clip_choice import Choice
from icm.codecs.clip_index import ClipIndex, around, encode_maps, walk_maps
from icm.codecs.clips import ClipDecoder, positions, walk_frame
from icm.codecs.coding import PictureCoder
from icm.codecs.picture import PictureCodec
from tests.icm.conftest import picture

HEIGHT, WIDTH = 200, 330  # 4 x 6 tiles, the last ones cut


def camera(frames: int, noise: float = 2.0) -> list[np.ndarray]:
    """A bright square that moves before a background that does not, a lamp that goes on in frame 10, sensor noise."""
    background, rng = picture(HEIGHT, WIDTH).astype(float), np.random.default_rng(5)
    made = []
    for i in range(frames):
        frame = background.copy()
        frame[80:130, 20 + 9 * i : 70 + 9 * i] = (250, 40, 90)
        if i >= 10:
            frame[5:60, 270:320] += 90
        made.append((frame + rng.normal(0, noise, frame.shape)).clip(0, 255).astype(np.uint8))
    return made


class Watching(Choice):
    """Sends what moves in the original: an untrained network shows nothing that could be compared."""

    last: np.ndarray | None = None

    def wanted(self, frame: np.ndarray, shown: np.ndarray) -> np.ndarray:
        assert self.last is not None
        moved = self.errors(frame, self.last) > 64 * 64 * 60
        self.last = frame
        return moved

    def sent(self, tiles: np.ndarray, frame: np.ndarray, shown: np.ndarray, size: int) -> None:
        self.last = frame


def coded(codec: PictureCodec, frames: list[np.ndarray], choice: type[Choice] = Watching) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("icm.codecs.clips.Choice", choice)
        return encoded(codec, frames)


def encoded(codec: PictureCodec, frames: list[np.ndarray]) -> bytes:
    return codec.encode_clip(((frame, i) for i, frame in enumerate(frames)), Fraction(1, 25))


@pytest.fixture(scope="module")
def codec(tiny_weights: Path) -> PictureCodec:
    return PictureCodec("sa-icm-s", 40, weights=tiny_weights, refresh=8)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return camera(20)


@pytest.fixture(scope="module")
def data(codec: PictureCodec, frames: list[np.ndarray]) -> bytes:
    return coded(codec, frames)


@pytest.fixture(scope="module")
def decoded(codec: PictureCodec, data: bytes) -> list[np.ndarray]:
    return [frame for frame, _ in codec.decode_clip(data)]


def index_of(data: bytes) -> ClipIndex:
    with read(data) as stream:
        assert stream.header.features & CHANGED_TILES
        return ClipIndex.parse(stream.header)


def broken(data: bytes, *sections: int) -> bytes:
    """The same file with a byte of each of these sections changed."""
    out = bytearray(data)
    with read(data) as stream:
        places = {name: offset for name, offset, _ in stream.layout()}
    for section in sections:
        out[places[f"section {section}"]] ^= 1
    return bytes(out)


def test_only_what_changes_is_sent(data):
    index = index_of(data)
    assert index.keys.tolist() == [0, 8, 16]
    sent = [index.sent(i) for i in range(20)]
    assert all(sent[i].all() for i in (0, 8, 16))
    assert all(0 < sent[i].sum() <= 6 for i in range(20) if i % 8)
    assert not any(sent[i][3].any() for i in range(20) if i % 8)  # nothing moves there
    assert [i for i in range(20) if sent[i][0].any()] == [0, 8, 10, 16]


def test_with_trained_weights_it_saves_bytes_and_keeps_the_error(frames):
    """The encoder's own choice, against every frame whole at the same quality."""
    sizes, errors = [], []
    for refresh in (100, 1):
        codec = PictureCodec("sa-icm-s", 40, refresh=refresh)
        data = encoded(codec, frames[:9])
        sizes.append(len(data))
        shown = [frame.astype(float) for frame, _ in codec.decode_clip(data)]
        errors.append(np.mean([np.mean((a - b) ** 2) for a, b in zip(frames[:9], shown, strict=True)]))
        if refresh > 1:
            index = index_of(data)
            assert all(0 < index.sent(i).sum() <= 8 for i in range(1, 9))
            assert not any(index.sent(i)[0].any() for i in range(1, 9))
    assert sizes[0] < 0.5 * sizes[1]
    assert errors[0] < 1.1 * errors[1]


def test_any_frame_alone_and_in_any_order(codec, data, decoded):
    rng = np.random.default_rng(1)
    with read(data) as stream:
        for i in rng.permutation(20):
            assert np.array_equal(codec.decode_frame(stream, int(i)), decoded[i])
    for i in (0, 7, 8, 13):
        (alone, tick), = codec.decode_clip(data, i, i + 1)
        assert (tick, np.array_equal(alone, decoded[i])) == (i, True)


def test_key_frames_are_what_a_picture_is(tiny_weights, frames):
    codec = PictureCodec("sa-icm-s", 40, weights=tiny_weights, refresh=8, finer=0)
    data = coded(codec, frames[:10])
    decoded = [frame for frame, _ in codec.decode_clip(data)]
    with read(data) as clip, read(codec.encode(frames[8])) as alone:
        assert clip.section(8) == alone.section(0)
    assert np.array_equal(decoded[8], codec.decode(codec.encode(frames[8])))


def test_key_frames_are_finer():
    """They stay for long, so they get more bits; no further than the best quality, and not in frames between."""
    errors, sizes = [], []
    for finer in (0, 20):
        codec = PictureCodec("sa-icm-s", 30, finer=finer)
        frames = [picture(100, 130)] * 2
        data = encoded(codec, frames)
        shown = [frame for frame, _ in codec.decode_clip(data)]
        assert index_of(data).finer == finer
        assert np.array_equal(*shown)
        errors.append(np.mean((frames[0].astype(float) - shown[0]) ** 2))
        sizes.append(len(data))
    assert errors[1] < 0.95 * errors[0]
    assert sizes[1] > 1.2 * sizes[0]
    for quality, most in ((80.5, 19), (100, 0)):
        data = encoded(PictureCodec("sa-icm-s", quality), frames[:1])
        assert index_of(data).finer == most
        with read(data) as stream:
            p = bytearray(stream.header.parameters)
            p[4] += 1
            file = write(dataclasses.replace(stream.header, parameters=bytes(p)), [stream.section(0)])
        with pytest.raises(StreamError, match=r"key frames .* are out of range"):
            next(codec.decode_clip(file))


def test_an_unchanged_frame_costs_its_row_in_the_table(codec, frames):
    with read(coded(codec, [frames[0]] * 5)) as stream:
        assert stream.lengths[1:] == [0] * 4
        assert len(stream.header.parameters) < 12
        pictures = [codec.decode_frame(stream, i) for i in range(5)]
    assert all(np.array_equal(one, pictures[0]) for one in pictures)
    pictures[0][:] = 0  # each is the caller's own
    assert pictures[1].any()


def test_a_cut_is_a_key_frame(codec, frames):
    index = index_of(coded(codec, [*frames[:3], *(picture(HEIGHT, WIDTH, 9),) * 3]))
    assert index.keys.tolist() == [0, 3]


def test_what_changed_for_good_is_sent_some_day():
    """A change too faint to be worth its bits at once adds up until it is."""
    frame = picture(100, 130)
    late = frame.astype(int)
    late[64:, 64:128] += 4
    choice = Choice(100, 130, 64, 20 * 16)
    choice.sent(np.ones((2, 3), bool), frame, frame, 300)
    when = [i for i in range(100) if choice.wanted(late.clip(0, 255).astype(np.uint8), frame).any()]
    assert 1 < when[0] < 60


@pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 31), (64, 64), (65, 200), (130, 64)])
@pytest.mark.parametrize("tile", [64, 1024])
def test_sizes(tiny_weights, height, width, tile):
    """Areas of one tile and of many; the last positions of z cut; every frame its own picture."""
    codec = PictureCodec("sa-icm-s", 60, weights=tiny_weights, tile=tile, refresh=3)
    frames = [picture(height, width, seed // 2) for seed in range(6)]
    data = coded(codec, frames)
    everything = [frame for frame, _ in codec.decode_clip(data)]
    assert [frame.shape for frame in everything] == [(height, width, 3)] * 6
    for i in (5, 2, 4):
        assert np.array_equal(next(codec.decode_clip(data, i))[0], everything[i])
    assert codec.verify(data) == []


def test_symbols_do_not_depend_on_what_is_looked_at(tiny_weights, monkeypatch):
    """The prior is computed around what is sent, and there alone; over the whole frame it says the same."""
    narrow = PictureCoder._steps

    def wide(self, z, context, mask, sent):
        return narrow(self, z, context, mask, torch.ones_like(sent))

    coder = PictureCodec("sa-icm-s", 60, weights=tiny_weights).coder
    rng = np.random.default_rng(2)
    held, other = coder.nothing_held(21, 27), coder.nothing_held(21, 27)
    for round_ in range(4):
        sent = np.ones((6, 7), bool) if not round_ else rng.random((6, 7)) < 0.15
        y = 4 * torch.randn(16, 21, 27, generator=torch.Generator().manual_seed(round_))
        encoder = Encoder()
        walk_frame(coder, encoder, held, sent, 800, 1024, y)
        decoder = Decoder(encoder.finish())
        with monkeypatch.context() as patch:
            patch.setattr(PictureCoder, "_steps", wide)
            coder.walk(decoder, 21, 27, 800, None, other, torch.from_numpy(sent))
        decoder.finish()
        assert torch.equal(held.z, other.z)
        assert torch.equal(held.y_hat, other.y_hat)


def test_damage_reaches_as_far_as_it_says(codec, data, decoded):
    """Frame 10 of the group 8 to 15: frames that it concerns are named; where nothing is called lost, all are exact."""
    file, index = broken(data, 10), index_of(data)
    last = index.affected(10)
    assert last == 15  # the lamp
    assert [index.affected(i) for i in (0, 14, 15)] == [7, 14, 15]
    with pytest.raises(Damaged, match="section 10 of 20 does not match its CRC32C; frames 10 to 15 lack something"):
        list(codec.decode_clip(file, last, last + 1))
    assert len(list(codec.decode_clip(file, last + 1))) == 19 - last
    assert codec.verify(file)
    with read(file, partial=True) as stream:
        for i in range(20):
            shown, lost, approximate = codec.decode_partial(stream, i)
            changed = (shown != decoded[i]).any(-1)
            assert bool(lost) == (10 <= i <= last)
            assert all("section 10" in reason for reason in lost.values())
            for top, bottom, left, right in lost:
                assert (shown[top:bottom, left:right] == 128).all()
                assert any(index.sent(j)[top // 64, left // 64] for j in range(10, i + 1))
            for top, bottom, left, right in approximate:
                changed[top:bottom, left:right] = False
            assert not changed.any()
            assert len(lost) < 24


def test_tiles_sent_anew_are_whole_again(codec, frames):
    """Where no neighbour of what a frame sends is lost, the damage is over with it."""
    flash = frames[0].copy()
    flash[:64, :64] = 255 - flash[:64, :64]
    data = coded(codec, [frames[0], flash, frames[0], frames[0]])
    index = index_of(data)
    assert [int(index.sent(i).sum()) for i in range(4)] == [24, 1, 1, 0]
    right = [frame for frame, _ in codec.decode_clip(data)]
    with read(broken(data, 1), partial=True) as stream:
        assert list(codec.decode_partial(stream, 1)[1]) == [(0, 64, 0, 64)]
        for i in (2, 3):
            shown, lost, approximate = codec.decode_partial(stream, i)
            assert (lost, approximate) == ({}, [])
            assert np.array_equal(shown, right[i])


def test_no_damaged_clip_shows_other_pixels(codec, data, decoded):
    rng = np.random.default_rng(3)
    for _ in range(80):
        file, at = bytearray(data), int(rng.integers(len(data)))
        file[at] ^= 1 << int(rng.integers(8))
        frame = int(rng.integers(20))
        try:
            (shown, _), = codec.decode_clip(bytes(file), frame, frame + 1)
        except StreamError:
            continue
        assert np.array_equal(shown, decoded[frame])


def test_behind_repaired_checksums_the_coder_notices(codec, data):
    rng = np.random.default_rng(4)
    with read(data) as stream:
        header, sections = stream.header, list(stream.sections())
    for number in (1, 5, 8):
        for _ in range(6):
            changed = bytearray(sections[number])
            changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
            again = write(header, [*sections[:number], bytes(changed), *sections[number + 1 :]])
            with pytest.raises(StreamError):
                list(codec.decode_clip(again, number, number + 1))
            assert codec.verify(again)


def every_map(file: bytes, codec: PictureCodec) -> None:
    with read(file) as stream:
        for i in range(stream.header.frames):
            ClipDecoder(stream, codec.coder).index.sent(i)


def test_indices_that_contradict_are_refused(codec, data):
    with read(data) as stream:
        header, sections = stream.header, list(stream.sections())
    p = header.parameters
    bad = [p[:-1], p + b"\0\0", p[:3], p[:5] + b"\0\0" + p[5:], p[:5] + b"\x14\0", p[:2] + b"\x05\x05" + p[4:],
           p[:2] + b"\x06\x07" + p[4:], p[:4] + b"\x3d" + p[5:], b"", p[:4], p[:5]]  # fmt: skip
    rng = np.random.default_rng(6)
    for _ in range(30):
        changed = bytearray(p)
        changed[int(rng.integers(5, len(p)))] ^= 1 << int(rng.integers(8))
        bad.append(bytes(changed))
    for parameters in bad:
        file = write(dataclasses.replace(header, parameters=parameters), sections)
        with read(file) as stream:
            assert re.match("damaged|desynchronised", icm.describe(stream.header)["index"])
        with pytest.raises(StreamError):
            every_map(file, codec)
    with pytest.raises(StreamError, match="19 sections for 20 frames"):
        list(codec.decode_clip(write(header, sections[:-1])))
    for kind, times in (("picture", None), ("clip", header.times)):
        alone = dataclasses.replace(header, kind=kind, times=times, parameters=p[:3])
        with pytest.raises(StreamError):
            next(iter(codec.decode_clip(write(alone, sections[: len(sections) if times else 1]))))


def test_maps_come_back_and_cost_little():
    rng = np.random.default_rng(7)
    still, moving = np.zeros((100, 7, 12), bool), np.zeros((100, 7, 12), bool)
    still[0] = moving[0] = True
    for i in range(1, 100):
        moving[i, 2:5, i // 10 : i // 10 + 2] = True
    for maps, most in ((still, 12), (moving, 60), (rng.random((30, 7, 12)) < 0.5, 400), (np.ones((1, 3, 3), bool), 0)):
        maps[0] = True
        payload = encode_maps(maps)
        decoder = Decoder(payload)
        assert np.array_equal(walk_maps(decoder, len(maps), maps.shape[1:]), maps)
        decoder.finish()
        assert len(payload) <= most


def test_the_choice_forgives_noise_and_counts_errors():
    frame, rng = picture(100, 130).astype(float), np.random.default_rng(8)
    choice = Choice(100, 130, 64, 30 * 16)
    shown = (frame + rng.normal(0, 5, frame.shape)).clip(0, 255).astype(np.uint8)

    def noisy() -> np.ndarray:
        return (frame + rng.normal(0, 3, frame.shape)).clip(0, 255).astype(np.uint8)

    first = noisy()
    expected = [[np.sum((first[r : r + 64, c : c + 64].astype(float) - shown[r : r + 64, c : c + 64]) ** 2) / 3
                 for c in (0, 64, 128)] for r in (0, 64)]  # fmt: skip
    assert np.allclose(choice.errors(first, shown), expected)
    choice.sent(np.ones((2, 3), bool), first, shown, 300)
    assert not any(choice.wanted(noisy(), shown).any() for _ in range(50))
    changed = noisy()
    changed[70:90, 70:90] = 0
    assert choice.wanted(changed, shown).tolist() == [[False] * 3, [False, True, False]]


def test_bad_requests(tiny_weights, frames):
    with pytest.raises(ValueError, match="finer by 0 or more"):
        PictureCodec("sa-icm-s", 40, weights=tiny_weights, finer=-1)
    with pytest.raises(ValueError, match="every 1 or more frames, not 0"):
        PictureCodec("sa-icm-s", 40, weights=tiny_weights, refresh=0)
    codec = PictureCodec("sa-icm-s", 40, weights=tiny_weights)
    with pytest.raises(ValueError, match="frame 1 is 20x10, the first was 330x200"):
        coded(codec, [frames[0], frames[0][:10, :20]])
    with pytest.raises(ValueError, match="no frames"):
        coded(codec, [])


def test_two_codecs_on_one_stream(codec, data, decoded):
    other = PictureCodec("sa-icm-s", 70, weights=codec.weights)
    with read(data) as stream:
        for one, i in ((codec, 9), (other, 10), (codec, 3)):
            assert np.array_equal(one.decode_frame(stream, i), decoded[i])


def test_what_a_header_says(codec, data):
    with read(data) as stream:
        facts = icm.describe(stream.header)
    assert facts["quality"] == 40
    assert (facts["key_frames"], facts["key_frames_finer_by"]) == ([0, 8, 16], 30)
    assert facts["tiles_sent"][8] == facts["tiles_a_frame"] == 24
    assert len(facts["tiles_sent"]) == 20


def test_lost_tiles_are_no_context(codec, data):
    """Nothing is decoded beside what is lost: the latents that are held are right or called lost."""
    with read(data) as stream:
        right = ClipDecoder(stream, codec.coder)
        for i in range(8, 14):
            right.step(stream, i)
    with read(broken(data, 10), partial=True) as stream:
        other = ClipDecoder(stream, codec.coder)
        for i in range(8, 14):
            other.step(stream, i)
    lost = np.zeros(other.index.shape, bool)
    lost[tuple(np.array(list(other.lost)).T)] = True
    kept = torch.from_numpy(~positions(lost, right.held, 64))
    assert torch.equal(right.held.z[:, kept], other.held.z[:, kept])
    assert around(lost).sum() >= lost.sum() > 0
