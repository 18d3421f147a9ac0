"""The privacy section of a report: what it comes to in words, curves, a table, the models and their strength.

Faces are in it only where the caller brings them, which it does on request.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from typing import Any

from eval.plots import RATE, Curve, Panel
from eval.privacy.conclusion import ATTACKS, CONTROL, EVIDENCE, conclusion, percent, share, strongest
from eval.report.page import Strip, figures, strip_html

UTILITY = {
    "pseudo": "persons AP50 on these pictures, pseudo-labels (%)",
    "scenes": "persons AP50 on the embedded scenes (%)",
}
Run = dict[str, Any]
Point = dict[str, Any]


def plots(run: Run, prefix: str = "") -> dict[str, tuple[Panel, ...]]:
    """Name → panels of one run (`privacy.json`)."""
    points: list[Point] = run["points"]
    attacked = any(len(p["attacks"]) > 1 for p in points)
    best = "strongest attacker" if attacked else "stock embedder"
    found: dict[str, tuple[Panel, ...]] = {
        "privacy-identity": (
            panel(points, f"Re-identification, {best}", "rank-1 (%)", lambda p: rank1(p, strongest(p))),
            panel(points, "Re-identification, stock embedder", "rank-1 (%)", lambda p: rank1(p, "none")),
        ),
        "privacy-similarity": (
            panel(points, "Similarity to the same original", "mean cosine", lambda p: p["similarity"]["mean"]),
            panel(points, f"Verification, {best}", "equal error rate (%)",
                  lambda p: hundred(p["attacks"][strongest(p)]["eer"]["value"])),
        ),
        "privacy-detection": (
            panel(points, "Faces found again", "recall at IoU .5 (%)",
                  lambda p: hundred(p["detection"]["recall"]["value"])),
            panel(points, "Landmarks of those found", "error (% of the eyes' distance)",
                  lambda p: p["detection"]["landmark_error_percent"]),
        ),
    }  # fmt: skip
    traded = tuple(
        panel(points, f"Privacy against utility, {best}", "rank-1 (%)", lambda p: rank1(p, strongest(p)), kind)
        for kind in UTILITY if any(utility(p, kind) is not None for p in points)
    )  # fmt: skip
    if traded:
        found["privacy-utility"] = traded
    return {prefix + name: panels for name, panels in found.items()}


def panel(points: Sequence[Point], title: str, label: str, value: Any, across: str | None = None) -> Panel:
    """Curves of a figure over rate, or over a utility; the originals are the ceiling."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for point in points:
        x, y = point["rate_bpp"] if across is None else utility(point, across), value(point)
        if point["codec"] != CONTROL and x is not None and y is not None:
            curves.setdefault(point["codec"], []).append((x, y))
    control = next((value(p) for p in points if p["codec"] == CONTROL), None)
    made = tuple(Curve(name, tuple(values)) for name, values in curves.items())
    # Shares from nothing to everything: the steps of a few probes must not look like mountains
    limits = (0.0, 103.0) if label.startswith(("rank-1", "recall")) else None
    return Panel(title, label, made, control, RATE if across is None else UTILITY[across], limits)


def at_equal_utility(points: Sequence[Point], kind: str, level: float) -> dict[str, dict[str, float | None]]:
    """codec → {rank1, rate_bpp} where its utility is `level` of the originals', linearly between its points.

    None where a codec's points do not reach that level from both sides.
    """
    control = next((utility(p, kind) for p in points if p["codec"] == CONTROL), None)
    table: dict[str, dict[str, float | None]] = {}
    for codec in dict.fromkeys(p["codec"] for p in points if p["codec"] != CONTROL):
        table[codec] = {"rank1": None, "rate_bpp": None}
        of = [p for p in points if p["codec"] == codec]
        known = sorted((u, r, p["rate_bpp"]) for p in of
                       if (u := utility(p, kind)) is not None and (r := rank1(p, strongest(p))) is not None)
        for low, high in itertools.pairwise(known):
            if control and low[0] <= level * control <= high[0]:
                t = (level * control - low[0]) / max(high[0] - low[0], 1e-9)
                table[codec] = {"rank1": low[1] + t * (high[1] - low[1]), "rate_bpp": low[2] + t * (high[2] - low[2])}
    return table


def section(run: Run, drawn: Sequence[Strip] = (), prefix: str = "", title: str = "") -> str:
    """The section's HTML."""
    sentences = conclusion(run)
    kind = "face tracks of the clip" if run["clip"] else "persons"
    out = [f"<h2>{_e(title or 'What is left of faces: ' + run['dataset'])}</h2>"]
    out += [f"<p>{'<b>' + _e(s) + '</b>' if run['identities'] < EVIDENCE and i == 0 else _e(s)}</p>"
            for i, s in enumerate(sentences)]  # fmt: skip
    out.append(f'<p class="soft">{run["pictures"]} pictures, {run["faces"]} faces found in the originals, '
               f'{run["subjects"]} of them of {run["identities"]} {kind}. Larger pictures were shrunk to '
               f'{run["longest_px"]} pixels a side (0: never). Faces are compared where the originals show them: the '
               "attacker knows where to look. Thresholds are those of the originals. Brackets: 95 % intervals, "
               "bootstrap over persons (over pictures for detection). Rate is the size of the files on disk."
               "</p>")  # fmt: skip
    out += figures(plots(run, prefix))
    out += [*_table(run["points"]), *_attacks(run["points"]), *_cosines(run["points"]), *_equal(run["points"])]
    out += _models(run)
    if drawn:
        out += ["<h3>Faces</h3>", *(strip_html(strip) for strip in drawn)]
    return "\n".join(out)


def _table(points: Sequence[Point]) -> list[str]:
    sizes = list(points[0]["detection"]["by_size"])
    used = [size for size in sizes if points[0]["detection"]["by_size"][size]["faces"]]
    kinds = [kind for kind in UTILITY if any(utility(p, kind) is not None for p in points)]
    head = ["codec", "quality", "rate (bpp)", "faces found", *(f"{s} ({points[0]['detection']['by_size'][s]['faces']})"
            for s in used), "landmark error", "similarity", "strongest attacker", "its rank-1", "its EER",
            *(f"{UTILITY[kind].replace(' (%)', '')}" for kind in kinds)]  # fmt: skip
    rows = []
    for p in points:
        attack = strongest(p)
        of = p["attacks"][attack]
        rows.append([*_name(p), f"{p['rate_bpp']:.4f}", share(p["detection"]["recall"]),
                     *(percent(p["detection"]["by_size"][s]["recall"]["value"]) for s in used),
                     _number(p["detection"]["landmark_error_percent"], 1, " %"), _number(p["similarity"]["mean"], 3),
                     attack, share(of["rank1"]), share(of["eer"]),
                     *(_number(utility(p, kind), 1) for kind in kinds)])  # fmt: skip
    return ["<h3>Points</h3>", _html(head, rows)]


def _attacks(points: Sequence[Point]) -> list[str]:
    """Every attacker at every point, verification too."""
    fars = list(points[0]["attacks"]["none"]["tar"])
    rows = []
    for p in points:
        for name, of in p["attacks"].items():
            tars = [share(of["tar"][far]) if of["tar"][far]["value"] is not None
                    else "too few pairs" for far in fars]  # fmt: skip
            rows.append([*_name(p), name, share(of["rank1"]), percent(of["rank1_chance"]), share(of["eer"]), *tars,
                         f"{of['genuine']['pairs']:,} / {of['impostor']['pairs']:,}"])  # fmt: skip
    legend = "; ".join(f"{name}: {words}" for name, words in ATTACKS.items())
    head = ["codec", "quality", "attacker", "rank-1", "chance", "EER", *(f"TAR at FAR {far}" for far in fars),
            "pairs, same / different"]  # fmt: skip
    return ["<h3>Attackers</h3>", f'<p class="soft">{_e(legend)}. A FAR is told where at least one pair in the '
            "originals may lie above it.</p>", _html(head, rows)]  # fmt: skip


def _cosines(points: Sequence[Point]) -> list[str]:
    """Distributions: 5, 50, 95 % quantiles of genuine and impostor scores against original galleries."""
    rows = []
    for p in points:
        of = p["attacks"]["none"]
        cells = []
        for kind in ("genuine", "impostor"):
            quantiles = of[kind]["quantiles"]
            cells.append(" … ".join(f"{quantiles[q]:.2f}" for q in ("5", "50", "95")) if quantiles else "n/a")
        rows.append([*_name(p), f"{p['rate_bpp']:.4f}", *cells])
    head = ["codec", "quality", "rate (bpp)", "same person", "different persons"]
    return ["<h3>Cosines, decoded against originals</h3>",
            '<p class="soft">5 %, 50 % and 95 % quantiles, stock embedder.</p>', _html(head, rows)]  # fmt: skip


def _equal(points: Sequence[Point]) -> list[str]:
    out = []
    for kind in UTILITY:
        tables = {level: at_equal_utility(points, kind, level) for level in (0.9, 0.75, 0.5)}
        if not any(row["rank1"] is not None for table in tables.values() for row in table.values()):
            continue
        rows = [[codec, *(_reached(table[codec]) for table in tables.values())] for codec in tables[0.9]]
        head = ["codec", *(f"utility {100 * level:.0f} % of the originals’" for level in tables)]
        out += ["<h3>At equal utility</h3>", f'<p class="soft">Rank-1 of the strongest attacker where '
                f"{_e(UTILITY[kind].replace(' (%)', ''))} is a given part of the originals’, linear between points."
                "</p>", _html(head, rows)]  # fmt: skip
    return out


def _reached(row: dict[str, float | None]) -> str:
    return "not reached" if row["rank1"] is None else f"{row['rank1']:.0f} % at {row['rate_bpp']:.3f} bpp"


def _models(run: Run) -> list[str]:
    control = next((p for p in run["points"] if p["codec"] == CONTROL), None)
    out = ["<h3>Models</h3>", "<dl>"]
    for role, model in run["models"].items():
        text = f"{model['name']}; {model['licence']}; {model['source']}"
        text += f"; SHA-256 {model['sha256']}" if model["sha256"] else "; no weights"
        if role == "embedder" and control is not None:
            of = control["attacks"]["none"]
            text += f". On the originals: rank-1 {share(of['rank1'])}, EER {share(of['eer'])}"
        if role == "detector":
            text += ". Faces it finds in the originals are the truth, so its recall on them is 100 %"
        out.append(f"<dt>{_e(role)}</dt><dd>{_e(text)}</dd>")
    return [*out, "</dl>"]


def rank1(point: Point, attack: str) -> float | None:
    """In percent."""
    return hundred(point["attacks"][attack]["rank1"]["value"])


def utility(point: Point, kind: str) -> float | None:
    """AP50 of persons in percent."""
    return point["utility"].get(kind, {}).get("ap50")


def hundred(value: float | None) -> float | None:
    """A share as percent."""
    return None if value is None else 100 * value


def _name(point: Point) -> list[str]:
    return [point["codec"], "" if point["codec"] == CONTROL else f"{point['quality']:g}"]


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "n/a" if value is None else f"{value:.{digits}f}{unit}"


def _html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{_e(cell)}</th>" for cell in head)
    body, last = [], None
    for row in rows:
        first = ' class="first"' if last not in (None, row[0]) else ""
        body.append(f"<tr{first}>" + "".join(f"<td>{_e(cell)}</td>" for cell in row) + "</tr>")
        last = row[0]
    return f'<div class="scroll"><table><tr>{top}</tr>{"".join(body)}</table></div>'


def _e(value: Any) -> str:
    return html.escape(str(value))
