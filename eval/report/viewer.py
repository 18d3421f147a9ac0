"""The viewer: original against decoded at each rate, with what the machine found laid over both.

    Scene ─ Shot (original) ─ layers: labels, objects, panoptic …
          └ Shot (codec at a quality) …      ─▶ a gallery that needs nothing, which viewer.js makes into a viewer

Every picture is in the page once. Without JavaScript the gallery stays open; with it, it is folded below the viewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from eval.report.markup import data, escape, key

ORIGINAL = "original"


@dataclass(frozen=True)
class Shot:
    """One picture as a codec leaves it (or the original): WebP bytes, and layers over it, name -> HTML."""

    webp: bytes
    codec: str
    title: str  # "x265:40"
    note: str = ""  # rate, bytes, PSNR of this picture
    rate_bpp: float = 0.0
    layers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """A picture of the data set, `width` x `height` pixels, the original first."""

    name: str
    width: int
    height: int
    shots: tuple[Shot, ...]


@dataclass(frozen=True)
class Viewer:
    """The scenes of one data set. `note`: what is drawn."""

    scenes: tuple[Scene, ...]
    note: str = ""


def viewer(of: Viewer, codecs: Sequence[str], number: int = 0) -> list[str]:
    """The HTML; `codecs`: all of the page, for their colours; `number` tells viewers of a page apart."""
    if not of.scenes:
        return []
    found = [{shot.codec: 0 for shot in scene.shots if shot.codec != ORIGINAL} for scene in of.scenes]
    shown = [codec for codec in found[0] if all(codec in other for other in found)]
    layers = list(dict.fromkeys(layer for scene in of.scenes for shot in scene.shots for layer in shot.layers))
    drawn = next((layer for layer in layers if layer != "labels"), "")
    out = ["<h3>Pictures</h3>", f'<p class="soft">{escape(of.note)}</p>' if of.note else ""]
    out.append(f'<div class="viewer" data-layer="{escape(drawn)}">')
    out += _controls(of, shown, layers, drawn, codecs, number)
    out.append('<details class="gallery" open><summary>All pictures</summary>')
    for i, scene in enumerate(of.scenes):
        out.append(f'<div class="scene" data-scene="{i}"><h4>{escape(scene.name)}</h4>')
        for codec, shots in groupby(scene.shots, key=lambda shot: shot.codec):
            figures = "".join(_figure(scene, shot, drawn) for shot in shots)
            out.append(f'<div class="row" data-codec="{escape(codec)}">{figures}</div>')
        out.append("</div>")
    return [*out, "</details></div>"]


def _figure(scene: Scene, shot: Shot, drawn: str) -> str:
    """A picture under its layers; where there is no script, the first kind of layer is seen."""
    layers = "".join(
        f'<div class="layer" data-layer="{escape(name)}"{"" if name == drawn else " hidden"}>{content}</div>'
        for name, content in shot.layers.items()
    )
    return (
        f'<figure data-codec="{escape(shot.codec)}" data-rate="{shot.rate_bpp:.6g}" data-title="{escape(shot.title)}" '
        f'data-note="{escape(shot.note)}"><div class="frame" style="aspect-ratio:{scene.width}/{scene.height}">'
        f'<img decoding="sync" width="{scene.width}" height="{scene.height}" src="{data("image/webp", shot.webp)}" '
        f'alt="{escape(f"{scene.name}, {shot.title}")}">{layers}</div>'
        f"<figcaption><b>{escape(shot.title)}</b> {escape(shot.note)}</figcaption></figure>"
    )


def _controls(
    of: Viewer, shown: Sequence[str], layers: Sequence[str], drawn: str, codecs: Sequence[str], number: int
) -> list[str]:
    """Hidden until the script makes them work."""
    scenes = "".join(f'<option value="{i}">{escape(scene.name)}</option>' for i, scene in enumerate(of.scenes))
    choices = "".join(
        f'<label><input type="radio" name="codec-{number}" value="{escape(codec)}"{" checked" if i == 0 else ""}>'
        f"{key(codec, codecs)} {escape(codec)}</label>" for i, codec in enumerate(shown)
    )  # fmt: skip
    overlays = "".join(f'<option{" selected" if layer == drawn else ""}>{escape(layer)}</option>' for layer in layers)
    left = "".join(f'<option value="{escape(codec)}">{escape(codec)} at the nearest rate</option>' for codec in shown)
    return [
        '<div class="controls" hidden>',
        f'<label>picture <select class="pick-scene">{scenes}</select></label>',
        f'<fieldset><legend>codec</legend>{choices}</fieldset>',
        '<label class="long">rate <input class="pick-rate" type="range" min="0" max="0" step="1" value="0">'
        '<output class="rate"></output></label>',
        f'<label>drawn <select class="pick-layer"><option value="">nothing</option>{overlays}</select></label>',
        f'<label>left side <select class="pick-left"><option>{ORIGINAL}</option>{left}</select></label>',
        "</div>",
        '<div class="stage" hidden><div class="side left"></div><div class="side right"></div><div class="split"></div>'
        '<span class="tag tag-left"></span><span class="tag tag-right"></span></div>',
        '<label class="long wipe" hidden>left <input class="pick-wipe" type="range" min="0" max="100" step="1" '
        'value="50" aria-label="where the left picture ends, in percent"> right</label>',
        '<p class="said" aria-live="polite" hidden></p>',
    ]  # fmt: skip
