"""The figures in words, the strongest attacker first, and what they are no evidence of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

EVIDENCE = 20  # identities below which nothing is claimed
ATTACKS = {
    "none": "a stock embedder on the decoded face",
    "parrot": "a gallery coded with the same codec",
    "head": "an embedder adapted to the codec",
    "restorer": "a network that restores the original",
}
CONTROL = "uncompressed"


def strongest(point: dict[str, Any]) -> str:
    """The attack with the highest rank-1, then the lowest EER, of those that could be measured."""
    def strength(name: str) -> tuple[float, float]:
        attack = point["attacks"][name]
        rank1, eer = attack["rank1"]["value"], attack["eer"]["value"]
        return (-1.0 if rank1 is None else rank1), -(1.0 if eer is None else eer)

    return max(point["attacks"], key=strength)


def conclusion(run: dict[str, Any]) -> list[str]:
    """Sentences on a run (`privacy.json`)."""
    points = run["points"]
    control = next((p for p in points if p["codec"] == CONTROL), None)
    coded = [p for p in points if p["codec"] != CONTROL]
    said = []
    if run["identities"] < EVIDENCE:
        said.append(f"This is not evidence: {run['identities']} identities, and nothing is concluded below {EVIDENCE}. "
                    "It shows that the measurement runs, and where it would have to look closer.")  # fmt: skip
    told = [p for p in coded if p["attacks"][strongest(p)]["rank1"]["value"] is not None]
    if told and control is not None:
        for codec in dict.fromkeys(p["codec"] for p in told):
            of = [p for p in told if p["codec"] == codec]
            said.append(_best_and_worst(codec, of))
        base = control["attacks"]["none"]
        said.append(f"On the originals the embedder itself reaches rank-1 {share(base['rank1'])} and an equal "
                    f"error rate of {share(base['eer'])}; chance is {percent(base['rank1_chance'])}. "
                    + _strength(base["rank1"]["value"], base["eer"]["value"]))  # fmt: skip
        gains = [g for p in told if (g := gain(p)) is not None]
        if gains:
            mean, most = 100 * sum(gains) / len(gains), 100 * max(gains)
            said.append(f"Attackers who adapt gain {mean:+.0f} points of rank-1 on the stock embedder on average "
                        f"over {len(gains)} points, {most:+.0f} at most. The best of several is picked at every point, "
                        "which flatters it where there are few probes.")  # fmt: skip
    said.append("Not tested: " + "; ".join(untested(run)) + ".")
    return [sentence.replace("-0 points", "0 points") for sentence in said]


def gain(point: dict[str, Any]) -> float | None:
    """How much rank-1 the best attacker who adapts has above the one who does not."""
    values = {name: attack["rank1"]["value"] for name, attack in point["attacks"].items()}
    adaptive = [value for name, value in values.items() if name != "none" and value is not None]
    return max(adaptive) - values["none"] if adaptive and values.get("none") is not None else None


def untested(run: dict[str, Any]) -> list[str]:
    """What the run says nothing about."""
    gaps = []
    embedder = run["models"]["embedder"]["name"]
    if embedder == "patterns":
        gaps.append("a trained face recogniser (the embedder here is computed, and weak; give --embedder sface, "
                    "facenet or an ONNX file)")  # fmt: skip
    if run.get("clip"):
        gaps.append("finding a person again on another day (a clip's pairs are moments apart)")
    if not run.get("attacked"):
        gaps.append("attackers who train (they were switched off)")
    gaps += ["larger restoration networks, generative ones, and attackers with other pictures of the same person",
             "gait, clothes, voice and everything else that identifies",
             "faces smaller or turned further than those here, other skin, age and light"]  # fmt: skip
    if all(p["attacks"]["none"]["tar"].get("0.001", {}).get("value") is None for p in run["points"]):
        gaps.append("verification at FAR 0.001 (too few pairs of different persons)")
    return gaps


def share(figure: dict[str, Any]) -> str:
    """"85 % (60 to 100)"."""
    if figure["value"] is None:
        return "n/a"
    spread = "" if figure["low"] is None else f" ({100 * figure['low']:.0f} to {100 * figure['high']:.0f})"
    return f"{percent(figure['value'])}{spread}"


def percent(value: float | None) -> str:
    """"85 %"."""
    return "n/a" if value is None else f"{100 * value:.0f} %"


def _best_and_worst(codec: str, points: Sequence[dict[str, Any]]) -> str:
    low = min(points, key=lambda p: p["rate_bpp"])
    high = max(points, key=lambda p: p["rate_bpp"])
    parts = []
    for p in [low] if low is high else [low, high]:
        name = strongest(p)
        parts.append(f"{share(p['attacks'][name]['rank1'])} at {p['rate_bpp']:.3f} bpp ({ATTACKS[name]})")
    return f"{codec}: the strongest attacker names the right person first in {', and in '.join(parts)}."


def _strength(rank1: float | None, eer: float | None) -> str:
    if rank1 is None or eer is None:
        return "Its strength cannot be told."
    if rank1 < 0.95 or eer > 0.05:
        return "It is weak: what it cannot find, a better one may."
    return "What a codec hides from it, a better one may still see."
