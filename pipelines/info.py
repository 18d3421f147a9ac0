"""`vcm info`: what a file says about itself, and where every byte of it went. Reads the header alone."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from icm.bitstream import FEATURES, Header, Stream, StreamError, read
from icm.bitstream.header import FEATURE_BITS
from icm.groups import clips
from pipelines import groups

NAME = "info"
HELP = "show what is inside a .vcm file, every byte accounted for"
EPILOG = """\
The header is read and checked, sections are only located: `vcm verify` reads them. Exit code 1 when bytes are missing
or too many.

examples:
  vcm info street.vcm
  vcm info camera.vcm --all
  vcm info street.vcm --json | jq .rate_bpp
"""
SHOWN = 16  # sections in the table, unless --all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `vcm info`."""
    parser.add_argument("file", metavar="FILE", help="a .vcm file")
    parser.add_argument("--all", action="store_true", help=f"list every section, not the first {SHOWN} only")
    parser.add_argument("--json", action="store_true", help="print as JSON (every section)")


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 where the length is not what the header says. StreamError, OSError for a file that is none."""
    with read(os.fspath(arguments.file), partial=True) as stream:
        facts = describe(stream)
    if arguments.json:
        print(json.dumps({"file": arguments.file, **facts}, indent=2))
    else:
        print(text(arguments.file, facts, None if arguments.all else SHOWN))
    return 1 if facts["problem"] else 0


def describe(stream: Stream) -> dict[str, Any]:
    """Everything that the header tells, as plain values; rates from the bytes that are there."""
    header = stream.header
    pixels = header.width * header.height * header.frames
    facts: dict[str, Any] = {
        "version": "{}.{}".format(*header.version),
        "kind": header.kind,
        "width": header.width,
        "height": header.height,
        "frames": header.frames,
        "model": header.model,
        "weights_sha256_first8": header.weights.hex(),
        "parameters": header.parameters.hex(),
        "codec": _codec_facts(header),
        "colour": header.colour,
        "features": [
            FEATURES.get(bit, f"optional feature {bit}") for bit in range(FEATURE_BITS) if header.features >> bit & 1
        ],
        "decode_memory_bytes": header.memory,
        "bytes": stream.stored,
        "rate_bpp": 8 * stream.stored / pixels,
        "sections": len(stream),
        "section_bytes": sum(stream.lengths),
    }
    if header.times:
        base, ticks = header.times.base, header.times
        span = float(base * int((ticks.steps * ticks.counts).sum()))
        fps = float(ticks.rate) if ticks.rate else None
        seconds = span + 1 / fps if fps else None  # the last frame lasts as long as the others do on average
        facts |= {
            "time_base": str(base),
            "first_tick": ticks.first,
            "frames_per_second": fps,
            "constant_rate": len(ticks.steps) < 2,
            "seconds": seconds,
            "rate_kbps": 8e-3 * stream.stored / seconds if seconds else None,
        }
    if header.kind == "groups":
        facts["groups"] = _groups(stream)
    if clips.is_clip(header):
        facts["clip_groups"] = _clip_groups(stream)
    facts["problem"] = stream.length_problem()
    facts["parts"] = [{"name": n, "offset": o, "bytes": b, "rate_bpp": 8 * b / pixels} for n, o, b in _parts(stream)]
    return facts


def _groups(stream: Stream) -> list[dict[str, Any]]:
    """The groups of a structured stream; none where it is not one that this version knows."""
    from icm.groups.stream import listing

    try:
        return listing(stream)
    except StreamError:
        return []


def _clip_groups(stream: Stream) -> list[dict[str, Any]]:
    """The same of a clip."""
    try:
        return clips.listing(stream)
    except StreamError:
        return []


def _parts(stream: Stream) -> list[tuple[str, int, int]]:
    """The parts of the bytes that are there, covering them exactly."""
    import icm
    import nerv

    parts, tensors = [], nerv.section_names(stream.header) or icm.section_names(stream.header)
    for name, offset, length in stream.layout():
        word, _, number = name.partition(" ")
        if word == "section" and number.isdecimal() and int(number) < len(tensors):
            name = f"{name} ({tensors[int(number)]})"
        here = min(length, max(0, stream.stored - offset))
        parts.append(
            (name if here == length else f"{name} ({length - here} bytes missing)", min(offset, stream.stored), here)
        )
    if stream.stored > stream.size:
        parts.append(("bytes after the end", stream.size, stream.stored - stream.size))
    return parts


def _codec_facts(header: Header) -> dict[str, Any]:
    """What the codec reads in its own parameters, where it says so (icm.describe, nerv.describe)."""
    import icm
    import nerv

    return {**icm.describe(header), **nerv.describe(header)}


def text(file: str, facts: dict[str, Any], shown: int | None) -> str:
    """For people: two short tables."""
    clip = facts["frames"] > 1 or facts["kind"] in ("clip", "network")
    lines = [
        f"{file}: {facts['kind']}, {facts['width']}x{facts['height']}, "
        + (f"{_many(facts['frames'], 'frame')}, " if clip else "")
        + f"{_many(facts['bytes'], 'byte')}, {facts['rate_bpp']:.4f} bpp"
    ]
    if facts["problem"]:
        lines.append(f"  {facts['problem']}")
    rows = [("format", f"VCM {facts['version']}"), ("model", facts["model"])]
    rows += [(name, _short(value, shown)) for name, value in facts["codec"].items()]
    rows += [("weights", f"{facts['weights_sha256_first8']}... (SHA-256 of weights and tables)")]
    if clip:
        rows.append(("time", _time(facts)))
    rows += [("colour", facts["colour"]), ("memory", f"{_size(facts['decode_memory_bytes'])} to decode")]
    if facts["features"]:
        rows.append(("features", ", ".join(facts["features"])))
    if facts["parameters"]:
        word, most = facts["parameters"], None if shown is None else 4 * shown
        rows.append(("parameters", f"{word[:most]}{'...' if word[most:] and most else ''} (the codec's own)"))
    lines += [f"  {name:<11} {value}" for name, value in rows]
    if facts.get("groups"):
        lines += groups.table(facts["groups"])
    if facts.get("clip_groups"):
        lines += groups.clip_table(facts["clip_groups"])
    lines += ["", f"  {'offset':>12} {'bytes':>12} {'bpp':>9} {'share':>8}   what"]
    parts = _shortened(facts["parts"], shown)
    lines += [_row(p["offset"], p["bytes"], p["rate_bpp"], facts["bytes"], p["name"]) for p in parts]
    total = sum(p["bytes"] for p in facts["parts"])
    lines.append(_row("", total, facts["rate_bpp"], facts["bytes"], "the whole file"))
    return "\n".join(lines)


def _short(value: Any, shown: int | None) -> str:
    """A list is cut after `shown` items."""
    if not isinstance(value, list):
        return str(value)
    rest = f" ... ({len(value)} in all)" if shown is not None and len(value) > shown else ""
    return ", ".join(map(str, value[:shown])) + rest


def _row(offset: int | str, count: int, bpp: float, total: int, name: str) -> str:
    place = f"{offset:,}" if isinstance(offset, int) else offset
    return f"  {place:>12} {count:>12,} {bpp:>9.4f} {100 * count / total:>6.2f} %   {name}"


def _shortened(parts: list[dict[str, Any]], shown: int | None) -> list[dict[str, Any]]:
    """Sections after the first `shown` as one row."""
    sections = [p for p in parts if p["name"].startswith("section ")]
    if shown is None or len(sections) <= shown + 1:
        return parts
    rest = sections[shown:]
    sizes = [p["bytes"] for p in rest]
    row = {
        "name": f"sections {shown} to {len(sections) - 1}, {min(sizes):,} to {max(sizes):,} bytes (--all lists them)",
        "offset": rest[0]["offset"],
        "bytes": sum(sizes),
        "rate_bpp": sum(p["rate_bpp"] for p in rest),
    }
    at = parts.index(rest[0])
    return [*parts[:at], row, *parts[at + len(rest) :]]


def _time(facts: dict[str, Any]) -> str:
    if not facts["frames_per_second"]:
        return f"one frame, time base {facts['time_base']} s"
    kind = "constant" if facts["constant_rate"] else "varying, on average"
    rate = f"{facts['frames_per_second']:.6g} frames per second ({kind})"
    return f"{facts['seconds']:.3f} s, {rate}, {facts['rate_kbps']:.1f} kbit/s"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _size(count: int) -> str:
    return f"{count / (1 << 20):,.1f} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
