"""Frozen streams of structured pictures, SegPIC, LIC-TCM, and networks that were converted; with their weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

import icm
from icm.bitstream import Times, read
from icm.codecs.groups.codec import GroupsCodec
from icm.codecs.release import Release
from icm.groups import GroupMask
from icm.groups.stream import extract
from nerv.file import write_networks
from nerv.published import read_hnerv
from nerv.requantise import requantise
from tests.icm.codecs.test_segpic import tiny as tiny_segpic
from tests.icm.codecs.test_segpic_streams import regions
from tests.icm.codecs.tiny_tcm import tiny_tcm
from tests.icm.conftest import picture
from tests.icm.groups.conftest import tiny_network as tiny_groups
from tests.nerv.tiny import checkpoint

HERE = Path(__file__).parent
GROUPS, SEGPIC, TCM = (HERE / f"tiny-{name}.safetensors" for name in ("groups", "segpic", "tcm"))
KEY = HERE / "groups.key"
SMALL = {"width": 4, "latent": 8, "hyper": 4, "slices": 2, "heads": [2] * 6, "hyper_head": 4, "prior_head": 4,
         "inner": 4, "prior_widths": [4, 4]}  # fmt: skip


def make_weights(anew: bool) -> None:
    if anew or not GROUPS.exists():
        model = tiny_groups(12)
        model.use_integers()
        model.export(GROUPS)
    if anew or not SEGPIC.exists():
        segpic_of = tiny_segpic(12, latent=8)
        segpic_of.net.g_s1[-1].weight.data.mul_(40)  # else every picture is grey, whatever its symbols
        halved(segpic_of.release()).save(SEGPIC)
    if anew or not TCM.exists():
        halved(tiny_tcm(12, **SMALL).release()).save(TCM)
    if anew or not KEY.exists():
        KEY.write_text(bytes(range(32)).hex() + "\n")


def halved(release: Release) -> Release:
    """In half precision, which a release may have: half the bytes to keep here."""
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in release.tensors.items()}
    return Release(tensors, release.settings, release.arch)


# --- structured pictures ---------------------------------------------------------------------------------------------
IDS = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 0, 2], [0, 1, 1, 0, 2], [3, 1, 0, 0, 0]], np.uint8)
NAMES = ("background", "person", "car", "person")


def groups(**options: Any) -> bytes:
    """Four groups, two of one name, in cells of 16 pixels."""
    mask = GroupMask(IDS, NAMES, 60, 77)
    return GroupsCodec("groups", 30, weights=GROUPS).encode(picture(60, 77, 70), mask, **options)


def cut(words: list[str], base: float | None) -> bytes:
    with read(groups(base=base)) as stream:
        return extract(stream, words, base=base is not None)


def coarse() -> bytes:
    """Cells of 32 pixels, tiles of 128, scattered groups."""
    ids = (np.indices((5, 9)).sum(0) % 3).astype(np.uint8)
    mask = GroupMask(ids, ("a", "b", "c"), 150, 270, 32)
    return GroupsCodec("groups", 55.5, weights=GROUPS, tile=128).encode(picture(150, 270, 71), mask)


def locked(names: list[str]) -> bytes:
    return groups(locks=[(names, bytes(range(32)))])


WALK = ((1, 0), (1, 0), (1, 1), (1, 2), None, (2, 3))
"""Where the top left cell of a person of 2×2 cells is in each frame; None: nobody is."""


def walk(locks: list[str] | None = None, refresh: int = 512) -> bytes:
    """A person before a background that stands still but for a corner, at uneven times, in 1 frame of 6 nobody."""
    still, moving = picture(70, 90, 77), picture(70, 90, 78)

    def mask(number: int, _: np.ndarray) -> GroupMask:
        ids = np.zeros((5, 6), np.uint8)
        if (at := WALK[number]) is None:
            return GroupMask(ids, ("background",), 70, 90)
        ids[at[0] : at[0] + 2, at[1] : at[1] + 2] = 1
        return GroupMask(ids, ("background", "person"), 70, 90)

    frames = []
    for number, tick in enumerate((0, 2, 3, 7, 8, 9)):
        shown = np.where(mask(number, still).pixels()[..., None] > 0, moving, still)
        if number >= 3:
            shown[64:, 64:] = 255 - still[64:, 64:]
        frames.append((shown, tick))
    codec = GroupsCodec("groups", 30, weights=GROUPS, refresh=refresh)
    return codec.encode_clip(
        frames, Fraction(1, 30), masks=mask, qualities={"background": 60},
        locks=[(locks, bytes(range(32)))] if locks else (),
    )  # fmt: skip


def cut_walk(words: list[str]) -> bytes:
    with read(walk()) as stream:
        return extract(stream, words)


# --- codecs whose prior is in floats ---------------------------------------------------------------------------------
def segpic(height: int, width: int, scale: int = 0) -> bytes:
    """scale: of the label map that is told; 0: the grid."""
    of, seen = icm.CODECS["segpic"](weights=SEGPIC), picture(height, width, 72)
    return of.encode(seen, regions(height, width), scale) if scale else of.encode(seen)


def sa_icm(height: int, width: int, **options: Any) -> bytes:
    return icm.CODECS["sa-icm"](weights=TCM, **options).encode(picture(height, width, 73))


def clip(name: str, weights: Path) -> bytes:
    frames = [(picture(40, 56, 74 + i), (0, 3, 4)[i]) for i in range(3)]
    return icm.CODECS[name](weights=weights).encode_clip(frames, Fraction(1, 30), "bt2020")


# --- networks of others ----------------------------------------------------------------------------------------------
def converted(psnr_db: float | None) -> bytes:
    """A checkpoint in HNeRV's layout as `vcm convert` writes it: every 8-bit tensor exactly, or with fewer bits."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint(Path(folder) / "a.pth", seed=7)
        architecture, frames, published = read_hnerv(Path(folder) / "a.pth")
    tensors: dict[str, Any] = dict(published)
    if psnr_db is not None:
        tensors, _ = requantise(architecture, published, frames, psnr_db)
    return write_networks("hnerv", architecture, [(frames, tensors)], Times.constant(frames, Fraction(24000, 1001)))


EXTRAS: dict[str, dict[str, Any]] = {
    "groups-locked.vcm": {"key": KEY.name},
    "groups-base.vcm": {"groups": ["person"], "fill": "background"},
    "groups-cut-base.vcm": {"fill": "background"},
    "groups-clip-locked.vcm": {"key": KEY.name, "fill": "background"},
    "groups-clip-background.vcm": {"groups": ["background"]},
    "escapes.vcm": {"pixels": None},
    "escapes-far.vcm": {"pixels": None},
}
MAKERS: dict[str, Callable[[], bytes]] = {
    "groups.vcm": groups,
    "groups-1x1.vcm": lambda: GroupsCodec("groups", 80, weights=GROUPS).encode(picture(1, 1, 75)),
    "groups-one.vcm": lambda: GroupsCodec("groups", 10, weights=GROUPS).encode(picture(33, 130, 76)),
    "groups-qualities.vcm": lambda: groups(qualities={"person": 90, "background": 2}),
    "groups-cells.vcm": coarse,
    "groups-base.vcm": lambda: groups(base=10),
    "groups-cut.vcm": lambda: cut(["person"], None),
    "groups-cut-base.vcm": lambda: cut(["car"], 20),
    "groups-locked.vcm": lambda: locked(["person"]),
    "groups-shut.vcm": lambda: locked(["car", "background"]),
    "groups-clip.vcm": walk,
    "groups-clip-chapters.vcm": lambda: walk(refresh=2),
    "groups-clip-background.vcm": walk,
    "groups-clip-cut.vcm": lambda: cut_walk(["person"]),
    "groups-clip-locked.vcm": lambda: walk(["person"]),
    "groups-clip-shut.vcm": lambda: walk(["background"]),
    "segpic-1x1.vcm": lambda: segpic(1, 1),
    "segpic-grid.vcm": lambda: segpic(70, 131),
    "segpic-labels.vcm": lambda: segpic(96, 70, 4),
    "segpic-labels-coarse.vcm": lambda: segpic(96, 131, 16),
    "segpic-clip.vcm": lambda: clip("segpic", SEGPIC),
    "sa-icm.vcm": lambda: sa_icm(90, 150),
    "sa-icm-1x1.vcm": lambda: sa_icm(1, 1),
    "sa-icm-tiles.vcm": lambda: sa_icm(130, 200, tile=128),
    "sa-icm-guard.vcm": lambda: sa_icm(65, 63, guard=10),
    "sa-icm-clip.vcm": lambda: clip("sa-icm", TCM),
    "hnerv-converted.vcm": lambda: converted(None),
    "hnerv-requantised.vcm": lambda: converted(40.0),
}
