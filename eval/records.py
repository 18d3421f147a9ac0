"""One record a point: what was measured, of what, with what. JSON Lines to append to, CSV to look at.

Units are in the names; percentages run from 0 to 100. A field that is not known here is an error, in both
formats, so that a figure is never lost without a word.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROTOCOLS = (
    "frozen",  # the task model was not trained on decoded pictures
    "fine-tuned",  # it was, on pictures of this codec
    "pseudo-labels",  # frozen, and the labels are what it finds in the uncompressed pictures
)


@dataclass(frozen=True)
class Record:
    """One point of one curve: a codec at a quality, on a dataset, for a task."""

    codec: str
    quality: float
    dataset: str
    task: str  # a key of eval.metrics.scores.PRIMARY; fidelity where there are no labels
    model: str  # the task model; "" without one
    pictures: int
    pixels_total: int
    bytes_total: int  # of the files on disk, everything included
    rate_bpp: float  # 8 * bytes_total / pixels_total
    ap: float | None = None  # percent, IoU .5:.95; boxes for detection, masks for instances
    ap50: float | None = None  # percent
    ap_per_class: dict[str, float | None] = field(default_factory=dict)  # for tasks that have AP
    psnr_db: float | None = None  # mean over pictures, identical ones counted as 100 dB
    ms_ssim: float | None = None  # mean over pictures, 0 to 1
    encode_s: float | None = None  # over all pictures, without reading and writing files
    decode_s: float | None = None
    predict_s: float | None = None
    protocol: str = "frozen"  # one of PROTOCOLS
    seed: int = 0
    encode_threads: int | None = None  # that the codec might use while encode_s was taken
    decode_threads: int | None = None
    content: str = ""  # hash of pictures and labels: points of different contents are never one curve
    weights: str = ""  # SHA-256 of the codec's weights and tables; "" for a classic one
    model_weights: str = ""  # SHA-256 of the task model's weights; "" where they are no file known here
    settings: str = ""  # hash of everything that decides the figures; equal: the same point
    versions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)  # all figures, as Scores.figures names them
    per_class: dict[str, float | None] = field(default_factory=dict)  # the primary figure of any task, by class
    per_sequence: dict[str, dict[str, float | None]] = field(default_factory=dict)  # sequence -> figures and rate_bpp
    overlapped: bool = False  # the times were taken while the task model ran beside


_KINDS = typing.get_type_hints(Record)
_NAMES = [f.name for f in dataclasses.fields(Record)]


def to_json(record: Record) -> str:
    """One line of JSON, without its end."""
    return json.dumps(dataclasses.asdict(record), ensure_ascii=False, allow_nan=False)


def from_dict(values: dict[str, Any], where: str = "record") -> Record:
    """A record from its fields; ValueError for an unknown, a missing or a wrongly typed one."""
    unknown = [name for name in values if name not in _KINDS]
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}; this version knows {', '.join(_NAMES)}")
    for name, value in values.items():
        if not _fits(_KINDS[name], value):
            raise ValueError(f"{where}: {name} cannot be {value!r}")
    if values.get("protocol", PROTOCOLS[0]) not in PROTOCOLS:
        raise ValueError(f"{where}: protocol {values['protocol']!r} is none of {', '.join(PROTOCOLS)}")
    try:
        return Record(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def append_jsonl(path: str | Path, records: Iterable[Record]) -> None:
    """Add records at the end, each a whole line; an unfinished last line of a killed run is cut off first."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(to_json(record) + "\n" for record in records).encode("utf-8")
    try:
        with open(path, "ab+") as file:
            file.seek(0)
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
            file.write(text)
    except OSError as error:  # those of writing name no file
        raise OSError(f"{path}: not written ({len(text)} bytes more): {(error.strerror or str(error)).lower()}; make "
                      "room or choose another place") from error  # fmt: skip


def read_jsonl(path: str | Path) -> list[Record]:
    """The records of a file; ValueError names file and line. An unfinished last line counts as not written."""
    records = []
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], start=1):
        where = f"{path}: line {number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{where} is not JSON ({error.msg})") from None
        if not isinstance(values, dict):
            raise ValueError(f"{where} is not a record")
        records.append(from_dict(values, where))
    return records


def csv_text(records: Iterable[Record]) -> str:
    """The records as CSV with a header; nested fields as JSON, empty where there is no figure."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _NAMES, lineterminator="\n")
    writer.writeheader()
    for record in records:
        values = dataclasses.asdict(record)
        writer.writerow({k: json.dumps(v, ensure_ascii=False) if isinstance(v, dict) else v for k, v in values.items()})
    return buffer.getvalue()


def read_csv(path: str | Path) -> list[Record]:
    """The records of a CSV that `csv_text` wrote, exactly; ValueError names file and line."""
    records = []
    with open(path, encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            where = f"{path}: line {number}"
            values = {}
            for name, text in row.items():
                if name not in _KINDS:
                    raise ValueError(f"{where}: unknown field {name!r}; this version knows {', '.join(_NAMES)}")
                try:
                    values[name] = _parse(_KINDS[name], text)
                except ValueError:
                    raise ValueError(f"{where}: {name} cannot be {text!r}") from None
            records.append(from_dict(values, where))
    return records


def _parse(kind: Any, text: str) -> Any:
    if typing.get_origin(kind) is types.UnionType:
        return None if text == "" else _parse(typing.get_args(kind)[0], text)
    if typing.get_origin(kind) is dict:
        return json.loads(text)
    if kind is bool:
        return {"True": True, "False": False}.get(text, text)  # what csv wrote; anything else does not fit
    return kind(text)


def _fits(kind: Any, value: Any) -> bool:
    if typing.get_origin(kind) is types.UnionType:
        return any(_fits(option, value) for option in typing.get_args(kind))
    if typing.get_origin(kind) is dict:
        of = typing.get_args(kind)[1]
        return isinstance(value, dict) and all(isinstance(k, str) and _fits(of, v) for k, v in value.items())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return type(value) is kind
