"""The lists that a run grows: records.jsonl, records.csv, and results/CODEC.json as CompressAI's tools read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eval.records import Record, append_jsonl, csv_text, read_jsonl, to_json
from pipelines.run.atomic import write_text

CEILING = "uncompressed"


class Records:
    """records.jsonl and records.csv of a run, written as points finish."""

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder, self.jsonl, self.csv = folder, folder / "records.jsonl", folder / "records.csv"
        self.all: list[Record] = []
        if self.jsonl.exists():
            if not resume:
                raise ValueError(f"{folder}: holds records already; add --resume to go on, or choose another -o")
            self.all = read_jsonl(self.jsonl)

    def check(self, content: str, pictures: int) -> None:
        """ValueError where records of other pictures or labels are here: one folder holds curves of one content."""
        others = [record for record in self.all if record.content != content]
        if others:
            old = others[0]
            raise ValueError(f"{self.jsonl}: its records are of other pictures or labels ({old.pictures} pictures, "
                             f"content {old.content or 'unknown'}) than asked for ({pictures} pictures, "
                             f"content {content}); choose another -o")  # fmt: skip
        if self.all:
            self._follow({record.codec for record in self.all})  # a run may have been killed before it came to that

    def settings(self) -> set[str]:
        """The hashes of the points that are done."""
        return {record.settings for record in self.all}

    def add(self, new: list[Record]) -> None:
        """Add records of one point, beside those that it has; one of other settings in the same place is replaced."""
        names = {_key(record) for record in new}
        kept = [record for record in self.all if _key(record) not in names]
        place = max((i + 1 for i, record in enumerate(kept) if _key(record)[:2] == _key(new[0])[:2]), default=len(kept))
        if place == len(kept) == len(self.all):
            append_jsonl(self.jsonl, new)
            self.all += new
        else:
            self.all = [*kept[:place], *new, *kept[place:]]
            write_text(self.jsonl, "".join(to_json(record) + "\n" for record in self.all))
        self._follow({record.codec for record in new})

    def _follow(self, codecs: set[str]) -> None:
        """What is made of the records: the table of all, and the curves of these codecs."""
        _keep(self.csv, csv_text(self.all))
        for name in codecs - {CEILING}:
            of = [record for record in self.all if record.codec == name]
            path = self.folder / "results" / f"{name.replace('/', '-')}.json"
            _keep(path, json.dumps(compressai(name, of), indent=2) + "\n")


def _keep(path: Path, text: str) -> None:
    """Write what is not there already: a run that has nothing to do changes no file."""
    if not path.exists() or path.read_bytes() != text.encode("utf-8"):
        write_text(path, text)


def _key(record: Record) -> tuple[Any, ...]:
    return record.codec, record.quality, record.task, record.model


def compressai(name: str, records: list[Record]) -> dict[str, Any]:
    """A codec's curve as CompressAI writes it: lists by growing rate, seconds a picture, null where there is no figure.

    bpp, psnr-rgb (dB), ms-ssim-rgb, encoding_time, decoding_time; figures of tasks as "MODEL/TASK/FIGURE".
    """
    points: dict[float, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.rate_bpp):
        points.setdefault(record.quality, []).append(record)
    first = [of[0] for of in points.values()]

    def each(value: Any) -> list[float | None]:
        return [value(record) for record in first]

    def per_picture(seconds: float | None, record: Record) -> float | None:
        return None if seconds is None else seconds / record.pictures

    results: dict[str, list[float | None]] = {
        "quality": each(lambda r: r.quality), "bpp": each(lambda r: r.rate_bpp),
        "psnr-rgb": each(lambda r: r.psnr_db), "ms-ssim-rgb": each(lambda r: r.ms_ssim),
        "encoding_time": each(lambda r: per_picture(r.encode_s, r)),
        "decoding_time": each(lambda r: per_picture(r.decode_s, r)),
    }  # fmt: skip
    names = dict.fromkeys((r.model, r.task, figure) for r in records if r.model for figure in r.metrics)
    for model, task, figure in names:
        results[f"{model}/{task}/{figure}"] = [
            next((r.metrics.get(figure) for r in of if (r.model, r.task) == (model, task)), None)
            for of in points.values()
        ]
    some = records[0]
    return {
        "name": name,
        "description": f"{some.pictures} pictures of {some.dataset} (content {some.content}); bytes of the files on "
                       "disk, times in seconds a picture, figures of task models in percent",
        "results": results,
    }  # fmt: skip
