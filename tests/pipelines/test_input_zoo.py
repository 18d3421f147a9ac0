"""Every picture and clip of the zoo becomes what its rule says; frames and times of clips are those of ffprobe."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines import clips, media
from pipelines.clips import probe_clip, read_clip
from pipelines.media import picture_size, read_picture
from tests.pipelines.zoo_clips import CLIPS, agree, ffprobe_times, frame
from tests.pipelines.zoo_pictures import PICTURES


@pytest.fixture(autouse=True)
def quiet():
    """FFmpeg tells what is wrong with a file on stderr, too."""
    before = av.logging.get_level()
    av.logging.set_level(None)
    yield
    av.logging.set_level(before)


def rules(document: str) -> str:
    return " ".join(document.split())


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, tmp_path: Path) -> None:
    rule, make = PICTURES[name]
    assert f"| {rule} |" in rules(media.__doc__ or "")
    path = tmp_path / name
    expected = make(path)
    if isinstance(expected, str):
        with pytest.raises((ValueError, OSError), match=expected) as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
        return
    wanted, worst = expected if isinstance(expected, tuple) else (expected, 0)
    picture = read_picture(path)
    assert (picture.dtype, picture.shape) == (np.uint8, wanted.shape)
    assert np.abs(picture.astype(int) - wanted).max() <= worst
    assert picture_size(path) == wanted.shape[:2]


@pytest.mark.parametrize("name", CLIPS)
def test_clips(name: str, tmp_path: Path) -> None:
    rule, make = CLIPS[name]
    assert re.search(rf"\| {re.escape(rule)}[^|]*\|", rules(clips.__doc__ or ""))
    path = tmp_path / name
    expected = make(path)
    if isinstance(expected, str):
        with pytest.raises((ValueError, OSError), match=expected) as caught:
            list(read_clip(path))
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
        return
    count, size = expected
    frames = list(read_clip(path))
    assert {frame.shape for frame, _ in frames} == {(*size, 3)}
    assert all(frame.dtype == np.uint8 for frame, _ in frames)
    assert len(frames) == count or (count is None and frames)
    info = probe_clip(path)
    assert (info.height, info.width) == size
    assert all((time / info.time_base).denominator == 1 for _, time in frames)


@pytest.mark.parametrize("name", CLIPS)
def test_frames_and_times_are_those_of_ffprobe(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if isinstance(CLIPS[name][1](path), str):
        return  # refused, which the test above saw; ffprobe might go on trying
    theirs = ffprobe_times(path)
    if theirs is None:
        pytest.skip("needs ffprobe on PATH (Debian: apt-get install ffmpeg)")
    times = [time for _, time in read_clip(path)]
    assert agree(times, theirs), (times, theirs)


def test_what_was_drawn_is_what_is_read(tmp_path: Path) -> None:
    """Order of showing, not of coding: each frame is nearest to the one that was drawn at its place."""
    for name in ("b-frames.mp4", "b-frames.mkv", "open-gop.mp4", "open-gop-hevc.mkv", "vfr.mp4", "10-bit.mp4"):
        CLIPS[name][1](tmp_path / name)
        drawn = [frame(i, 48, 64).astype(int) for i in range(20)]
        for i, (shown, _) in enumerate(read_clip(tmp_path / name)):
            errors = [np.abs(shown - other).mean() for other in drawn]
            assert int(np.argmin(errors)) == i, name
            assert errors[i] < 6, name
