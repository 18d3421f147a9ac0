"""SegPIC's network (arXiv 2403.00628): what an encoder and a decoder compute, without what training adds.

    x ─g_a1─▶ f ─RAT─▶ ─g_a2─▶ y ─RAT─▶ ─h_a─▶ z ─⌊·⌉─▶ ─h_mean, h_scale─▶ ─RAT─▶ means, scales
              │p4                 │p16                                              │
              ▼                   ▼                                      charm: slice after slice
      prototypes at 1/4   prototypes at 1/16                                        ▼
    x_hat ◀─g_s1─ ◀─RAT(p4)─ ◀─g_s0─ y_hat

B pictures; N `width`, M `latent`, K prototype channels; f (B, N, H/4, W/4), y (B, M, H/16, W/16), z (B, N, H/64, W/64).
H and W are multiples of 64. The three kinds of side symbols (p4, p16, z) pass through a function that the caller gives:
it quantises, and estimates, writes or reads. `hyper` gives what `charm` (icm/codecs/charm.py) codes y with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from icm.codecs.charm import Charm
from icm.codecs.segpic.layers import Attention, conv, down, shuffle_up, up
from icm.codecs.segpic.regions import COARSE, FINE, RegionAdaptive, Regions, prototype_coder

# (name, value to quantise) → quantised; the value is None where a decoder asks
Side = Callable[[str, Tensor | None], Tensor]


class Network(nn.Module):
    """settings: of the published models by default; smaller `width` and `latent` shrink everything in proportion.

    rat, sal: with region-adaptive transforms (without them there are no prototypes, and masks say nothing), with
    scale-affine layers. privilege: training looks at labels (without it, it sees the grid alone: the control). grid:
    regions a side where no labels are given. ValueError where the sizes do not go together.
    """

    def __init__(
        self,
        width: int = 192,
        latent: int = 320,
        slices: int = 10,
        support: int = 5,
        heads: int = 8,
        grid: int = 4,
        rat: bool = True,
        sal: bool = True,
        privilege: bool = True,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "width": width, "latent": latent, "slices": slices, "support": support, "heads": heads, "grid": grid,
            "rat": rat, "sal": sal, "privilege": privilege,
        }  # fmt: skip
        if latent % slices or latent % heads or width % heads:
            raise ValueError(f"segpic: a latent of {latent} and a width of {width} need slices and heads that divide "
                             f"them, not {slices} and {heads}")  # fmt: skip
        if grid not in (1, 2, 4):
            raise ValueError(f"segpic: the grid has 1, 2 or 4 regions a side, not {grid}")  # that fit padded pictures

        def scaled(reference: int) -> int:
            """The published model's number of channels, at this size of the latent."""
            return max(8, round(reference * latent / 320 / 8) * 8)

        self.g_a1 = nn.Sequential(down(3, width, sal), down(width, width, sal), Attention(width, heads, 8))
        self.g_a2 = nn.Sequential(down(width, width, sal), down(width, latent, sal), Attention(latent, heads, 4))
        self.g_s0 = nn.Sequential(Attention(latent, heads, 4), up(latent, width, sal), up(width, width, sal))
        last = scaled(32)
        self.g_s1 = nn.Sequential(
            Attention(width, heads, 8), up(width, width, sal), up(width, last, sal), conv(last, 3, 1)
        )
        a, b, c = scaled(288), scaled(256), scaled(224)
        self.h_a = _stack(
            conv(latent, latent), conv(latent, a), conv(a, b, stride=2), conv(b, c), conv(c, width, stride=2)
        )
        with torch.no_grad():
            # z must start with a spread of about one quantiser step: narrower, all of it rounds to zero, and a side
            # channel that says nothing is slow to learn to.
            self.h_a[-1].weight.mul_(16)  # type: ignore[operator]
            self.g_s1[-1].bias.fill_(0.5)  # type: ignore[operator]  # the first picture is grey, not black
        self.h_mean, self.h_scale = (
            _stack(conv(width, width), shuffle_up(width, c), conv(c, b), shuffle_up(b, a), conv(a, latent))
            for _ in range(2)
        )
        self.charm = Charm(latent, slices, support, [scaled(n) for n in (224, 176, 128, 64)])
        if rat:
            k = scaled(96)
            self.prototypes = nn.ModuleDict({
                "p4_a": prototype_coder([width, scaled(128), k, k]),
                "p4_s": prototype_coder([k, scaled(128), width, width], inverse=True),
                "p16_a": prototype_coder([latent, width, scaled(128), k]),
                "p16_s": prototype_coder([k, scaled(128), width, latent], inverse=True),
            })  # fmt: skip
            self.rat = nn.ModuleDict({
                "encoder": RegionAdaptive(width), "decoder": RegionAdaptive(width), "hyper": RegionAdaptive(latent),
                "means": RegionAdaptive(latent), "scales": RegionAdaptive(latent),
            })  # fmt: skip
            self.prototype_channels = k

    # --- encoder ----------------------------------------------------------------------------------------------------
    def analyse(self, x: Tensor, regions: Regions, side: Side) -> tuple[Tensor, dict[str, Tensor]]:
        """x (B, 3, H, W) → y, and the quantised side symbols by name. `side` is called for p4, p16, z."""
        f, known = self.g_a1(x), {}
        if self.settings["rat"]:
            known["p4"] = side("p4", self.prototypes["p4_a"](regions.pool(f, FINE)))
            f = self.adapt("encoder", f, known, regions)
        y = self.g_a2(f)
        if self.settings["rat"]:
            known["p16"] = side("p16", self.prototypes["p16_a"](regions.pool(y, COARSE)))
        known["z"] = side("z", self.h_a(self.adapt("hyper", y, known, regions)))
        return y, known

    # --- both -------------------------------------------------------------------------------------------------------
    def adapt(self, name: str, x: Tensor, known: dict[str, Tensor], regions: Regions) -> Tensor:
        """The region-adaptive transform called `name`, or x itself where there is none."""
        if not self.settings["rat"]:
            return x
        which, scale = ("p4", FINE) if name in ("encoder", "decoder") else ("p16", COARSE)
        prototypes = self.prototypes[f"{which}_s"](known[which])
        return self.rat[name](x, regions.spread(prototypes, scale, *x.shape[-2:]))

    def hyper(self, known: dict[str, Tensor], regions: Regions) -> tuple[Tensor, Tensor]:
        """(means, scales), what charm predicts y from, each (B, M, H/16, W/16)."""
        means, scales = self.h_mean(known["z"]), self.h_scale(known["z"])
        return self.adapt("means", means, known, regions), self.adapt("scales", scales, known, regions)

    # --- decoder ----------------------------------------------------------------------------------------------------
    def synthesise(self, y_hat: Tensor, known: dict[str, Tensor], regions: Regions) -> Tensor:
        """→ x_hat (B, 3, H, W), not clamped."""
        return self.g_s1(self.adapt("decoder", self.g_s0(y_hat), known, regions))


def _stack(*layers: nn.Module) -> nn.Sequential:
    """The layers with GELU between them."""
    between: list[nn.Module] = []
    for layer in layers:
        between += [layer, nn.GELU()]
    return nn.Sequential(*between[:-1])


class Transforms(nn.Module):
    """The network under the name that it has in weights: what coding needs of SegPIC (model.py)."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.net = Network(**settings)
        self.settings = self.net.settings
