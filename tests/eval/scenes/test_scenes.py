"""The embedded scenes: repeatable, and labelled exactly."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from eval import scenes
from eval.scenes.render import FIRST_THING, MIN_PIXELS

COUNT = 12
STUFF = {c["id"] for c in scenes.CATEGORIES} - set(scenes.THINGS)


@pytest.fixture(scope="module")
def drawn() -> list[scenes.Picture]:
    return list(scenes.pictures(COUNT, seed=5, split="test"))


def digest(picture: scenes.Picture) -> str:
    return hashlib.sha256(picture.image.tobytes() + picture.segments.tobytes()).hexdigest()


def test_a_picture_is_a_function_of_seed_split_and_index(drawn: list[scenes.Picture]) -> None:
    again = scenes.picture(7, seed=5, split="test")  # alone, not after the others
    assert digest(again) == digest(drawn[7])
    others = [scenes.picture(7, seed=6, split="test"), scenes.picture(7, seed=5, split="val"), drawn[8]]
    assert len({digest(p) for p in [again, *others]}) == 4


def test_another_process_draws_the_same(drawn: list[scenes.Picture]) -> None:
    code = ("from eval.scenes import picture; import hashlib; p = picture(3, seed=5, split='test');"
            "print(hashlib.sha256(p.image.tobytes() + p.segments.tobytes()).hexdigest())")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == digest(drawn[3])


def test_boxes_are_the_extents_of_masks(drawn: list[scenes.Picture]) -> None:
    seen = 0
    for picture in drawn:
        for o in picture.instances:
            rows, columns = np.nonzero(o.mask)
            x, y, w, h = o.box
            assert (x, y, x + w, y + h) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert (o.mask == (picture.segments == o.segment_id)).all()
            assert o.area == o.mask.sum()
            assert o.ignored or o.area >= MIN_PIXELS
            seen += 1
    assert seen > 3 * COUNT


def test_every_pixel_belongs_to_one_segment(drawn: list[scenes.Picture]) -> None:
    for picture in drawn:
        assert set(np.unique(picture.segments)) == set(picture.categories)
        covered = sum(o.mask.astype(int) for o in picture.instances)
        assert np.max(covered) <= 1
        for number, category in picture.categories.items():
            assert category in (scenes.THINGS if number > FIRST_THING else STUFF)


def test_scenes_vary_and_have_texture() -> None:
    found, sizes, brightness, stuff = set(), [], [], set()
    for picture in scenes.pictures(20, seed=5, split="test"):
        found |= {o.category_id for o in picture.instances}
        sizes += [max(o.box[2:]) for o in picture.instances if not o.ignored]
        brightness.append(picture.image.mean())
        stuff |= set(picture.categories) & STUFF
        luma = picture.image.astype(float).mean(-1)
        assert np.abs(np.diff(luma, axis=1)).mean() > 1.5  # flat pictures would cost a codec nothing
    assert found == set(scenes.THINGS)
    assert stuff == STUFF
    assert min(sizes) < 24
    assert max(sizes) > 120
    assert 4 < len(sizes) / 20 < 20
    assert np.ptp(brightness) > 60


def test_objects_hide_each_other(drawn: list[scenes.Picture]) -> None:
    """In some picture two objects touch: one's pixel lies beside another's."""
    touching = 0
    for picture in drawn:
        a, b = picture.segments[:, :-1], picture.segments[:, 1:]
        touching += int(((a > FIRST_THING) & (b > FIRST_THING) & (a != b)).any())
    assert touching >= COUNT // 3


def test_a_clip_keeps_camera_and_identities() -> None:
    frames = list(scenes.clip(24, seed=2, fps=6))
    assert [f.time_s for f in frames[:3]] == [0, 1 / 6, 2 / 6]
    labels = [np.where(f.segments < FIRST_THING, f.segments, 0) for f in frames]
    both = (labels[0] > 0) & (labels[-1] > 0)
    assert both.mean() > 0.5
    assert (labels[0][both] == labels[-1][both]).mean() > 0.99
    assert not np.array_equal(frames[0].image, frames[1].image)
    centres: dict[int, list[np.ndarray]] = {}
    kinds: dict[int, set[int]] = {}
    for frame in frames:
        for o in frame.instances:
            centres.setdefault(o.track_id, []).append(np.array(o.box[:2]) + np.array(o.box[2:]) / 2)
            kinds.setdefault(o.track_id, set()).add(o.category_id)
    assert all(len(k) == 1 for k in kinds.values())
    moved = [np.linalg.norm(c[-1] - c[0]) for c in centres.values() if len(c) > 3]
    assert max(moved) > 30
    steps = [np.linalg.norm(np.diff(c, axis=0), axis=1).max() for c in centres.values() if len(c) > 3]
    assert max(steps) < 120  # nothing jumps across the picture


def test_a_frame_does_not_depend_on_the_frames_drawn_before() -> None:
    first = [digest(f) for f in scenes.clip(3, seed=2, fps=6)]
    assert first == [digest(f) for f in scenes.clip(3, seed=2, fps=6)]


@pytest.mark.parametrize("size", [(64, 64), (201, 127), (640, 480), (160, 400)])
def test_any_size(size: tuple[int, int]) -> None:
    picture = scenes.picture(1, size=size)
    assert picture.image.shape == (size[1], size[0], 3)
    assert picture.segments.shape == (size[1], size[0])
    assert picture.image.dtype == np.uint8


@pytest.mark.parametrize(("change", "message"), [
    ({"split": "dev"}, "unknown split"), ({"seed": -1}, "not negative"), ({"size": (20, 200)}, "32 to 8192")])
def test_bad_requests_are_one_line(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        scenes.picture(0, **change)
    assert "\n" not in str(caught.value)
