"""Structured streams on the command line: options of encode, decode and verify, and what they are to the codec.

    --groups-from MASKS …  ─▶ GroupRequest ─(a picture)─▶ keywords of GroupsCodec.encode
    --groups, --fill, --key-file ─▶ settings ─(a file)─▶ GroupsCodec ─▶ picture, what is missing, what is lost
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.run.provenance import sha256_file

if TYPE_CHECKING:
    import numpy as np

CODEC = "groups"
NOT_DEFAULT = ("groups_grid", "groups_classes", "groups_by", "groups_shape", "groups_score", "groups_quality", "base",
               "lock", "key_file")  # fmt: skip
TOLD = 8  # of what is wrong with the groups of a clip, to people


@dataclasses.dataclass(frozen=True)
class GroupRequest:
    """What `vcm encode` was asked for. locks: (names, key file). root: the folder that names of pictures are below.
    sha256: of the source where it is a file, so that a run that is resumed notices other masks."""

    source: str
    options: dict[str, Any]
    qualities: tuple[tuple[str, float], ...] = ()
    locks: tuple[tuple[tuple[str, ...], str], ...] = ()
    base: float | None = None
    root: str = ""
    sha256: str = ""

    def keywords(self, picture_path: Path, picture: np.ndarray) -> dict[str, Any]:
        """For GroupsCodec.encode of one picture. ValueError or OSError, one line."""
        from icm.groups.lock import read_key

        if self.source == "motion":
            raise ValueError("--groups-from motion: is for clips, of which it compares the frames")
        name = picture_path.relative_to(self.root).as_posix() if self.root else picture_path.name
        mask = _source(self.source, tuple(sorted(self.options.items()))).mask(name, picture)
        locks = [(names, read_key(path)) for names, path in self.locks]
        return {"groups": mask, "qualities": dict(self.qualities), "locks": locks, "base": self.base}

    def clip_keywords(self, clip_path: Path) -> dict[str, Any]:
        """For GroupsCodec.encode_clip of one clip, to be used once: some sources remember frames.

        ValueError or OSError, one line. Groups are classes unless others are asked for: the numbers of objects say
        nothing from frame to frame.
        """
        from icm.groups.lock import read_key
        from icm.groups.sources import Options, Source

        if self.base is not None:
            raise ValueError("--base: is for pictures; of clips, --fill background shows what the background holds")
        source = Source(self.source, Options(**{"by": "class", **self.options}))
        below = f"{clip_path.relative_to(self.root).with_suffix('').as_posix()}/" if self.root else ""

        def mask(number: int, frame: np.ndarray) -> Any:
            try:
                return source.mask(f"{below}{number:06d}", frame)
            except ValueError as error:
                raise type(error)(f"frame {number}: {error}") from None

        locks = [(names, read_key(path)) for names, path in self.locks]
        return {"masks": mask, "qualities": dict(self.qualities), "locks": locks}

    def __hash__(self) -> int:
        return hash(self.source)


@functools.lru_cache(maxsize=2)
def _source(spec: str, options: tuple[tuple[str, Any], ...]) -> Any:
    from icm.groups.sources import Options, Source

    return Source(spec, Options(**dict(options)))


def add_encode_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that only `--codec groups` has."""
    of = parser.add_argument_group("structured streams, --codec groups")
    of.add_argument("--groups-from", metavar="MASKS", help="what makes the groups: COCO .json (panoptic, instances,"
                    " boxes, results), label .png, a folder of them or of kept SAM masks, saliency:MAPS,"
                    " segment:felzenszwalb; of clips also: motion")  # fmt: skip
    of.add_argument("--groups-classes", metavar="A,B", help="only these classes are groups, the rest is background")
    of.add_argument("--groups-by", choices=("object", "class"), help="a group an object, or a class (of clips)")
    of.add_argument("--groups-shape", choices=("irregular", "boxes"), help="objects as they are, or their rectangles")
    of.add_argument("--groups-grid", type=int, metavar="PX", help="pixels of a cell: 16 (default), 32, 64, 128")
    of.add_argument("--groups-score", type=float, metavar="S", help="least score of detections (default 0.3)")
    of.add_argument("--groups-quality", metavar="A=Q,B=Q", help="qualities of groups by name, others as --codec says")
    of.add_argument("--base", type=float, metavar="Q", help="add a picture of 1/4 of the size, for --fill background")
    of.add_argument("--lock", metavar="A,B", action="append", help="encrypt these groups with the next --key-file")
    of.add_argument("--key-file", metavar="K", action="append", help="32 bytes or 64 hexadecimal digits, one a --lock")


def request(arguments: argparse.Namespace, codec: str) -> GroupRequest | None:
    """From the options of encode; None where there are none. ValueError, one line."""
    given = [name for name in ("groups_from", *NOT_DEFAULT) if getattr(arguments, name) is not None]
    if not given:
        return None
    first = "--" + given[0].replace("_", "-")
    if codec != CODEC:
        raise ValueError(f"{first}: is for --codec {CODEC}, not for {codec}")
    if arguments.groups_from is None:
        raise ValueError(f"{first}: needs groups; name what makes them with --groups-from")
    locks, keys = arguments.lock or [], arguments.key_file or []
    if len(locks) != len(keys):
        raise ValueError(f"--lock and --key-file go together: {len(locks)} of the one and {len(keys)} of the other")
    locked = tuple((words(names), key) for names, key in zip(locks, keys, strict=True))
    options: dict[str, Any] = {name.removeprefix("groups_"): getattr(arguments, name) for name in given
                               if name in ("groups_grid", "groups_by", "groups_shape", "groups_score")}  # fmt: skip
    if arguments.groups_classes:
        options["classes"] = words(arguments.groups_classes)
    if locked:
        options["first"] = tuple(name for names, _ in locked for name in names)
    qualities = []
    for word in words(arguments.groups_quality or ""):
        name, sign, value = word.rpartition("=")
        try:
            qualities.append((name, float(value)))
        except ValueError:
            sign = ""
        if not sign:
            raise ValueError(f"--groups-quality {word}: write it as person=50,background=5")
    root = str(arguments.input) if arguments.input.is_dir() else ""
    found = GroupRequest(arguments.groups_from, options, tuple(qualities), locked, arguments.base, root)
    _check(found)
    path = Path(found.source.removeprefix("saliency:"))
    return dataclasses.replace(found, sha256=sha256_file(path)) if path.is_file() else found


def _check(found: GroupRequest) -> None:
    """What is wrong whatever the picture, before any work."""
    from icm.groups.lock import cipher, read_key
    from icm.groups.mask import GRIDS

    if found.options.get("grid", GRIDS[0]) not in GRIDS:
        raise ValueError(f"--groups-grid {found.options['grid']}: is one of {', '.join(map(str, GRIDS))}")
    for _, path in found.locks:
        cipher(read_key(path))


def words(text: str) -> tuple[str, ...]:
    """ "a, b" → ("a", "b")."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def add_decode_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that only structured streams have."""
    of = parser.add_argument_group("structured streams")
    of.add_argument("--groups", metavar="A,3", help="only these groups, by name or number (`vcm info` lists them)")
    fills = ("grey", "background", "transparent")
    of.add_argument("--fill", choices=fills, help="what missing groups are (default grey)")
    of.add_argument("--key-file", metavar="K", action="append", help="the key of locked groups; several are tried")


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of decode as plain values, without those that were not given."""
    given = {"groups": arguments.groups, "fill": arguments.fill, "key_files": arguments.key_file}
    return {name: value for name, value in given.items() if value is not None}


def check(source: Path, header: Any, given: dict[str, Any]) -> None:
    """ValueError where options of groups were given and the file has none. header: None of what is no .vcm file."""
    from icm.groups.clips import is_clip

    kind = header.kind if header is not None else "picture"
    asked = [option for name, option in (("groups", "--groups"), ("fill", "--fill"), ("key_files", "--key-file"))
             if name in given]  # fmt: skip
    if asked and kind != "groups" and not (header is not None and is_clip(header)):
        raise ValueError(f"{source}: holds a {kind} without groups; {asked[0]} is for structured streams")


def is_structured(source: Path) -> bool:
    """Whether a file holds a picture of groups."""
    from icm.bitstream import read

    with read(source, partial=True) as stream:
        return stream.header.kind == "groups"


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Keywords of the codec's methods."""
    from icm.groups.lock import read_key

    return {
        "groups": words(given["groups"]) if "groups" in given else None, "fill": given.get("fill", "grey"),
        "keys": [read_key(path) for path in given.get("key_files", ())],
    }  # fmt: skip


def clip_options(codec: Any, source: Path, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(keywords of decode_clip and decode_partial, what to say in the row) of a clip of groups; empty of another."""
    from icm.bitstream import read
    from icm.groups.clips import is_clip

    with read(source, partial=True) as stream:
        if not is_clip(stream.header):
            return {}, {}
    options = _options(given)
    missing = codec.missing(source, options["groups"], options["keys"])
    return options, {"groups_missing": missing} if missing else {}


def decode(codec: Any, source: Path, given: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """(picture, damage map or None, what to say in the row: groups missing and lost)."""
    from icm.bitstream import read
    from icm.codecs.groups.shown import lost_windows
    from pipelines import damage

    options = _options(given)
    if not given["partial"]:
        found, lost = codec.decode_whole(source.read_bytes(), **options), None
    else:
        with read(source.read_bytes(), partial=True) as stream:
            found = codec.decode_groups(stream, **options)
        lost = damage.of_windows(found.picture.shape, lost_windows(found), [])
    said: dict[str, Any] = {}
    if missing := {f"group {i}": why for i, why in found.missing.items() if why != "not asked for"}:
        said["groups_missing"] = missing
    if found.lost:
        said["groups_lost"] = list(dict.fromkeys(found.lost.values()))
    return found.picture, lost, said


def described(row: dict[str, Any]) -> str:
    """For people, after the size of the picture."""
    parts = [f"; {group} missing: {why}" for group, why in row.get("groups_missing", {}).items()]
    lost = row.get("groups_lost", [])
    more = [f"; and {len(lost) - TOLD} more"] if len(lost) > TOLD else []
    return "".join([*parts, *(f"; {why}" for why in lost[:TOLD]), *more])


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of `vcm info`."""
    lines = ["", f"  {'group':>7} {'bytes':>10} {'share':>7} {'quality':>8}   {'left, top, right, bottom':<26} name"]
    for row in rows:
        number = "" if row["group"] is None else row["group"]
        box = ", ".join(map(str, row["box"])) if row["box"] else ""
        share = "" if row["share"] is None else f"{100 * row['share']:.1f} %"
        state = (", locked" if row["locked"] else "") + ("" if row["here"] else ", not here")
        start = f"  {number:>7} {row['bytes']:>10,} {share:>7} {row['quality']:>8g}"
        lines.append(f"{start}   {box:<26} {row['name']}{state}")
    return lines


def clip_table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of `vcm info` of a clip."""
    lines = ["", f"  {'group':>7} {'bytes':>12} {'frames':>8} {'sent':>8} {'whole':>7} {'quality':>8}   name"]
    for row in rows:
        state = (", locked" if row["locked"] else "") + ("" if row["here"] else ", not here")
        start = f"  {row['group']:>7} {row['bytes']:>12,} {row['frames']:>8,} {row['sent']:>8,} {row['whole']:>7,}"
        lines.append(f"{start} {row['quality']:>8g}   {row['name']}{state}")
    return lines
