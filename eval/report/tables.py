"""Tables of a section: BD figures with their intervals, what lies on the Pareto front, and every point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from eval.metrics.bd import BD, BDs
from eval.metrics.bootstrap import Interval
from eval.metrics.pareto import Row
from eval.records import Record
from eval.report.markup import escape, key, signed, table
from eval.report.terms import FIDELITY, Figure, task_of, value


@dataclass(frozen=True)
class Comparison:
    """A codec against the anchor by one measure; the intervals are None where nothing was resampled."""

    codec: str
    measure: str
    of: BDs
    pareto: BD  # BD-rate over the fronts, as MPEG VCM gives it
    unit: str = "points"  # of BD-accuracy
    rate: Interval | None = None  # of BD-rate, percent
    accuracy: Interval | None = None  # of BD-accuracy, in `unit`


@dataclass(frozen=True)
class Front:
    """A measure's points by codec and falling rate, with those that no other beats."""

    measure: str
    unit: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class BySequence:
    """A measure's BD-rates of every sequence alone: sequence -> one a codec of `codecs`."""

    measure: str
    codecs: tuple[str, ...]
    rows: dict[str, tuple[BDs, ...]]


def bd_table(rows: Sequence[Comparison], anchor: str, codecs: Sequence[str]) -> list[str]:
    """The heading, what the figures mean, and the table; nothing where nothing is compared."""
    if not rows:
        return []
    resampled = any(row.rate is not None for row in rows)
    head = ["measure", "codec", "BD-rate", "95 %", "BD-accuracy", "95 %", "undefined", "raw BD-rate", "Pareto BD-rate"]
    if not resampled:
        head = [cell for cell in head if cell not in ("95 %", "undefined")]
    body = []
    for measure, group in groupby(rows, key=lambda row: row.measure):
        of = list(group)
        alike = len(of) > 1 and of[0].of.rate_percent is None and len({(row.of, row.pareto) for row in of}) == 1
        for row in of[:1] if alike else of:
            name = "all" if alike else f"{key(row.codec, codecs)} {escape(row.codec)}"
            body.append([escape(measure), f'<td class="name">{name}</td>', *_figures(row, resampled)])
    said = """Mean difference at equal accuracy (BD-rate) or at equal rate (BD-accuracy), on curves made monotone by
        isotonic regression: the thin lines. A negative BD-rate saves rate. Raw: over the points as they are, which must
        rise. Pareto: over the points of each codec that none of its own beats, as MPEG VCM does."""
    if resampled:
        said += """ 95 %: of resamples of the pictures, the same ones for anchor and codec; undefined: the share of them
            without a BD-rate. Bold: saves rate in 97.5 % of them."""
    return [f"<h3>Against {escape(anchor)}</h3>", f'<p class="soft">{said}</p>', table(head, body)]


def _figures(row: Comparison, resampled: bool) -> list[str]:
    of = row.of
    rest = [_percent(of.raw_rate_percent, of.raw_reason), _percent(row.pareto.percent, row.pareto.reason)]
    if of.rate_percent is None and of.accuracy_points is None and of.reason == of.accuracy_reason:
        return [f'<td class="why" colspan="{5 if resampled else 2}">n/a: {escape(of.reason)}</td>', *rest]
    surely = row.rate is not None and row.rate.high is not None and row.rate.high < 0
    rate = _percent(of.rate_percent, of.reason, surely)
    accuracy = (f'<td class="why">n/a: {escape(of.accuracy_reason)}</td>' if of.accuracy_points is None
                else f"{signed(of.accuracy_points)} {escape(row.unit)}")  # fmt: skip
    if not resampled:
        return [rate, accuracy, *rest]
    undefined = "" if row.rate is None else f"{row.rate.undefined_percent:.1f} %"
    return [rate, _interval(row.rate), accuracy, _interval(row.accuracy), undefined, *rest]


def _percent(value: float | None, reason: str, strong: bool = False) -> str:
    if value is None:
        return f'<td class="why">n/a: {escape(reason)}</td>'
    return f'<td class="saves">{signed(value)} %</td>' if strong else f"{signed(value)} %"


def _interval(of: Interval | None) -> str:
    return "n/a" if of is None or of.low is None or of.high is None else f"{signed(of.low)} … {signed(of.high)}"


def front_table(fronts: Sequence[Front], codecs: Sequence[str]) -> list[str]:
    """Every rate point and whether another beats it, folded, a table a measure."""
    out = []
    for front in fronts:
        body = []
        for row in front.rows:
            body.append([
                f'<td class="name">{key(row.codec, codecs)} {escape(row.codec)}</td>', f"R{row.number}",
                f"{row.quality:g}", f"{row.rate_bpp:.4f}", "n/a" if row.accuracy is None else f"{row.accuracy:.1f}",
                "" if row.kept_percent is None else f"{row.kept_percent:.0f} %",
                "yes" if row.in_codec else "beaten", "<b>yes</b>" if row.overall else "beaten",
            ])  # fmt: skip
        best = [row for row in front.rows if row.overall]
        share = ", ".join(f"{sum(row.codec == codec for row in best)} of {escape(codec)}"
                          for codec in dict.fromkeys(row.codec for row in best))  # fmt: skip
        head = ["codec", "", "quality", "rate (bpp)", escape(front.unit), "of uncompressed", "on its own front",
                "on the front of all"]  # fmt: skip
        out.append(f"<details><summary>{escape(front.measure)}: {len(best)} of {len(front.rows)} points are on the "
                   f"front of all codecs ({share})</summary>{table(head, body)}</details>")  # fmt: skip
    said = """A point is beaten where another has at least its accuracy at no more rate: MPEG VCM’s way of choosing
        points. R1 is the highest rate."""
    return ["<h3>Pareto fronts</h3>", f'<p class="soft">{said}</p>', *out] if out else []


def sequence_table(tables: Sequence[BySequence], anchor: str, codecs: Sequence[str]) -> list[str]:
    """BD-rates sequence by sequence and their means, folded, a table a measure."""
    out = []
    for of in tables:
        head = ["sequence", *(f"{key(codec, codecs)} {escape(codec)}" for codec in of.codecs)]
        body = [[escape(name), *(_percent(one.rate_percent, one.reason) for one in row)]
                for name, row in of.rows.items()]  # fmt: skip
        means = []
        for column in zip(*of.rows.values(), strict=True):
            known = [one.rate_percent for one in column if one.rate_percent is not None]
            mean = f"{signed(sum(known) / len(known))} %" if known else "n/a"
            means.append(mean if len(known) == len(column) else f"{mean} (of {len(known)})")
        body.append(["<b>mean</b>", *means])
        out.append(f"<details><summary>{escape(of.measure)}: {len(of.rows)} sequences</summary>{table(head, body)}"
                   "</details>")  # fmt: skip
    said = f"BD-rate against {escape(anchor)} on isotonic curves, and the mean of those that there are."
    return ["<h3>Sequence by sequence</h3>", f'<p class="soft">{said}</p>', *out] if out else []


def points_table(records: Sequence[Record], codecs: Sequence[str]) -> list[str]:
    """Every point: rate, figures of every task, fidelity, times."""
    tasks = {name: task_of(name) for name in dict.fromkeys(record.task for record in records if record.model)}
    points: dict[tuple[str, float], list[Record]] = {}
    for record in sorted(records, key=lambda record: record.rate_bpp):
        points.setdefault((record.codec, record.quality), []).append(record)
    order = {name: i for i, name in enumerate(dict.fromkeys(record.codec for record in records))}
    columns = [(name, figure) for name, task in tasks.items() for figure in task.figures]
    head = ["codec", "quality", "rate<br>(bpp)", "bytes<br>on disk",
            *(f"{escape(name)}<br>{escape(figure.short)}" for name, figure in columns),
            "PSNR<br>(dB)", "MS-SSIM", "encode<br>(ms/picture)", "decode<br>(ms/picture)",
            "threads<br>(of both)"]  # fmt: skip
    rows = []
    for (codec, quality), same in sorted(points.items(), key=lambda entry: (order[entry[0][0]], entry[1][0].rate_bpp)):
        one, of = same[0], {record.task: record for record in same}
        name = f'<td class="name">{key(codec, codecs)} {escape(codec)}</td>' if codec in codecs else escape(codec)
        rows.append([
            name, "" if codec == "uncompressed" else f"{quality:g}", f"{one.rate_bpp:.4f}", f"{one.bytes_total:,}",
            *(_figure(of.get(task), figure) for task, figure in columns),
            "∞" if one.psnr_db == 100.0 else _number(one.psnr_db, FIDELITY.figures[0].digits),
            _number(one.ms_ssim, FIDELITY.figures[1].digits),
            _per_picture(one.encode_s, one.pictures), _per_picture(one.decode_s, one.pictures), _threads(one),
        ])  # fmt: skip
    beside = any(record.overlapped for record in records)
    said = ("Times are of coding and decoding in memory, one picture after the other, each codec on the threads that "
            "the last column says: they compare only where these are equal. Anchors use one.")  # fmt: skip
    if beside:
        said += " They were taken while the task model ran beside, so they are upper bounds."
    return ["<h3>Points</h3>", f'<p class="soft">{said}</p>', table(head, rows)]


def _figure(record: Record | None, figure: Figure) -> str:
    return "" if record is None else _number(value(record, figure.name), figure.digits) or "n/a"


def _number(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"


def _per_picture(seconds: float | None, pictures: int) -> str:
    if seconds is None:
        return ""
    each = 1000 * seconds / pictures
    return f"{each:,.0f}" if each >= 100 else f"{each:.3g}"


def _threads(record: Record) -> str:
    """Of encoding and decoding: "8", or "8, 1" where they differ; "" where nobody counted."""
    counts = [count for count in (record.encode_threads, record.decode_threads) if count is not None]
    return ", ".join(map(str, dict.fromkeys(counts)))
