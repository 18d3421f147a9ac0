"""Every codec that claims portability, in every setting of a quick matrix; what happens where decoders do disagree.

The long runs, with other versions of torch among them: benchmarks/portability.
"""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import nerv
from benchmarks.portability import flips
from benchmarks.portability.__main__ import decoded
from benchmarks.portability.cell import mode, run
from benchmarks.portability.streams import group_weights, moving, quadrants
from icm.bitstream import OtherWeights
from icm.bitstream.precision import full_precision
from icm.codecs.groups.codec import GroupsCodec
from icm.codecs.picture import PictureCodec
from icm.codecs.release import Release
from icm.codecs.same_build import SameBuildCodec
from icm.codecs.segpic.codec import SegpicCodec
from tests.icm.codecs.test_segpic import tiny
from tests.icm.codecs.tiny_tcm import tiny_weights as tcm_weights
from tests.icm.conftest import picture, tiny_network
from tests.icm.groups.conftest import tiny_network as tiny_groups

MODES = ("batch", "channels_last", "rows_first", "no-onednn", "autocast", "medium", "bf16")
OTHER_MACHINES = {
    "kernels": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2"},
    "bf16": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}
SHARE = 0.001  # of samples that may differ, by one


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with random weights of every codec."""
    folder = tmp_path_factory.mktemp("weights")
    model = tiny_network()
    model.use_integers()
    Release.from_model(model).save(folder / "small.safetensors")
    group_weights(folder / "groups.safetensors")
    tcm_weights(folder)
    tiny().export(folder / "segpic.safetensors")
    return folder


@pytest.fixture(scope="module")
def files(weights: Path) -> dict[str, tuple[Any, bytes]]:
    """codec: (what decodes it, a file)."""
    small = PictureCodec("sa-icm-s", 40, weights=weights / "small.safetensors", tile=64)
    groups = GroupsCodec("groups", 40, weights=weights / "groups.safetensors")
    tcm = SameBuildCodec("sa-icm", weights=weights / "tcm-0.safetensors")
    segpic = SegpicCodec("segpic", weights=weights / "segpic.safetensors")
    one = picture(96, 128)
    clip = [(frame, i) for i, frame in enumerate(moving(one, 4))]
    return {
        "sa-icm-s": (small, small.encode(one)),
        "clip": (small, small.encode_clip(clip, Fraction(1, 10))),
        "groups": (groups, groups.encode(one, quadrants(one))),
        "network": (nerv.CODECS["hnerv"](), flips.random_network(0)),
        "sa-icm": (tcm, tcm.encode(one)),
        "segpic": (segpic, segpic.encode(one)),
    }


@pytest.fixture(scope="module")
def streams(files: dict[str, tuple[Any, bytes]], weights: Path) -> tuple[Path, dict[str, Any]]:
    """(a folder for cell.py, what this process makes of it)."""
    named = {"sa-icm-s": "small", "clip": "small", "groups": "groups", "network": None}
    manifest = {}
    for codec, of in named.items():
        (weights / f"{codec}.vcm").write_bytes(files[codec][1])
        manifest[f"{codec}.vcm"] = {"codec": codec, "weights": of and f"{of}.safetensors"}
    (weights / "manifest.json").write_text(json.dumps(manifest))
    return weights, run(weights, make=True)


def agreed(reference: dict[str, Any], found: dict[str, Any]) -> None:
    """Symbols identical, pixels as README promises."""
    assert found.keys() == reference.keys()
    for name, right in reference.items():
        got = found[name]
        assert got.get("symbols") == right["symbols"], (name, got)
        assert got["most"] <= 1, name
        assert got["differ"] <= SHARE * got["samples"], name


@pytest.mark.parametrize("name", MODES)
def test_whatever_a_caller_sets(streams: tuple[Path, dict[str, Any]], name: str) -> None:
    with mode(name):
        agreed(streams[1], run(streams[0]))


@pytest.mark.parametrize("name", ["autocast", "medium", "bf16"])
def test_precision_modes_change_no_pixel(streams: tuple[Path, dict[str, Any]], name: str) -> None:
    """Nor does a decode change what the caller has set."""
    with mode(name):
        before = torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu"), settings()
        found = run(streams[0])
        assert before == (torch.get_autocast_dtype("cpu"), torch.is_autocast_enabled("cpu"), settings())
    assert [row["differ"] for row in found.values()] == [0] * len(found)


def settings() -> tuple[str, ...]:
    """fp32_precision of every backend."""
    backends = torch.backends.mkldnn, torch.backends.cuda, torch.backends.cudnn
    parts = (getattr(backend, name, None) for backend in backends for name in ("matmul", "conv"))
    return tuple(part.fp32_precision for part in parts if part is not None)


def test_inside_precision_is_full() -> None:
    with mode("medium"), mode("bf16"), full_precision():
        assert torch.backends.mkldnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", OTHER_MACHINES)
def test_other_machines(streams: tuple[Path, dict[str, Any]], name: str) -> None:
    found = decoded(sys.executable, streams[0], ["plain", "channels_last"], OTHER_MACHINES[name])
    for row in found.values():
        assert "error" not in row
        agreed(streams[1], row["streams"])


def test_the_matrix_can_fail(streams: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A prior that rounds otherwise gives other symbols, or none."""
    from icm.prior.integer import CodingConv

    plain = CodingConv.accumulate
    monkeypatch.setattr(CodingConv, "accumulate", lambda self, a: plain(self, a) + (1 << max(self.shift - 1, 0)))
    found = run(streams[0])
    for name in ("sa-icm-s.vcm", "clip.vcm", "groups.vcm"):
        assert found[name].get("symbols") != streams[1][name]["symbols"]


# --- decoders that disagree -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("codec", "count"), [("sa-icm-s", 200), ("clip", 60), ("groups", 200), ("network", 200),
                                              ("sa-icm", 30), ("segpic", 30)])  # fmt: skip
def test_a_flipped_index_is_told(files: dict[str, tuple[Any, bytes]], codec: str, count: int) -> None:
    decoder, data = files[codec]
    rng, calls = np.random.default_rng(7), flips.calls_of(lambda: decoder.verify(data))
    told = [flips.flipped(lambda: decoder.verify(data), calls, *flips.choose(calls, rng)) for _ in range(count)]
    assert told == ["desynchronised"] * count


@pytest.mark.parametrize("codec", ["sa-icm", "segpic"])
def test_a_scale_that_falls_into_another_table_is_told(files: dict[str, tuple[Any, bytes]], codec: str) -> None:
    decoder, data = files[codec]
    rng = np.random.default_rng(8)
    assert [flips.misjudged(lambda: decoder.verify(data), rng) for _ in range(30)] == ["desynchronised"] * 30


def other_weights(codec: str, folder: Path) -> Path:
    """Of the same architecture."""
    path = folder / f"other-{codec}.safetensors"
    if codec == "sa-icm":
        return tcm_weights(folder, seed=9)
    if codec == "segpic":
        tiny(9).export(path)
        return path
    model = tiny_groups(9) if codec == "groups" else tiny_network(9)
    model.use_integers()
    model.export(path)
    return path


@pytest.mark.parametrize("codec", ["sa-icm-s", "clip", "groups", "sa-icm", "segpic"])
def test_other_weights_are_refused_by_hash_naming_both(
    files: dict[str, tuple[Any, bytes]], codec: str, tmp_path: Path
) -> None:
    decoder, data = files[codec]
    path = other_weights(codec, tmp_path)
    made, given = (Release.load(w).short_hash.hex() for w in (decoder.weights, path))
    other = type(decoder)(decoder.name, weights=path)
    with pytest.raises(OtherWeights) as caught:
        list(other.decode_clip(data)) if codec == "clip" else other.decode(data)
    assert made in str(caught.value)
    assert given in str(caught.value)
    assert "\n" not in str(caught.value)
