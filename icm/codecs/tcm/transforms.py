"""The networks of LIC-TCM that streams need, without the library that training needs: it takes seconds to import.

    g_a   x (B, 3, H, W) ─Down─▶ 2N @ 1/2 ─2 blocks, Down─▶ 1/4 ─2 blocks, Down─▶ 1/8 ─2 blocks, 3×3─▶ y (B, M, h, w)
    h_a   y ─Down─▶ 2N @ 1/32 ─2 blocks, 3×3─▶ z (B, Nz, h/4, w/4)
    h_mean_s, h_scale_s   z_hat ─Up─▶ 2N @ 1/32 ─2 blocks, sub-pixel─▶ (B, M, h, w)
    g_s   y_hat ─Up─▶ 2N @ 1/8 ─2 blocks, Up─▶ 1/4 ─2 blocks, Up─▶ 1/2 ─2 blocks, sub-pixel─▶ x_hat (B, 3, H, W)

h = H/16, w = W/16; H and W are multiples of 128, for windows of 8 at 1/16 and of 4 at 1/32. Blocks alternate between
plain and shifted windows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import nn

from icm.codecs.charm import Charm
from icm.codecs.tcm.attention import ConvTransBlock, SwAtten
from icm.codecs.tcm.layers import Down, Up, conv3, subpixel

STRIDE = 16
MULTIPLE = 128  # pixels: what a side is padded to
WINDOW, HYPER_WINDOW = 8, 4


@dataclasses.dataclass(frozen=True)
class Settings:
    """The published sizes: width (N) 64, 96 or 128, all else as here.

    latent: channels of y; hyper: of z. slices, support: of the prior. depths: blocks of the six stages, 1/2 to 1/8 and
    back. heads: channels of a head there; hyper_head, prior_head: in the hyper networks and in the slices' attention,
    which has `inner` channels. prior_widths: hidden channels of the slices' stacks.
    """

    width: int = 128
    latent: int = 320
    hyper: int = 192
    slices: int = 5
    support: int = 5
    depths: tuple[int, ...] = (2, 2, 2, 2, 2, 2)
    heads: tuple[int, ...] = (8, 16, 32, 32, 16, 8)
    hyper_head: int = 32
    prior_head: int = 16
    inner: int = 128
    prior_widths: tuple[int, ...] = (224, 128)

    @classmethod
    def of(cls, **given: Any) -> Settings:
        """From keywords, lists for tuples (as YAML and JSON have them). ValueError for what does not fit together."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"tcm: unknown setting {unknown[0]}; known: {', '.join(sorted(known))}")
        of: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
        settings = cls(**of)
        if len(settings.depths) != 6 or len(settings.heads) != 6:
            raise ValueError("tcm: depths and heads have six numbers each, one a stage")
        return settings


class Transforms(nn.Module):
    """All of LIC-TCM but the densities; settings: keywords of `Settings`, kept as a dict that JSON can hold."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        s = Settings.of(**given)
        self.settings: dict[str, Any] = {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(s).items()
        }
        n, wide = s.width, 2 * s.width

        def stage(i: int) -> list[nn.Module]:
            return [ConvTransBlock(n, s.heads[i], WINDOW, j % 2 == 1) for j in range(s.depths[i])]

        def hyper_stage(i: int) -> list[nn.Module]:
            return [ConvTransBlock(n, s.hyper_head, HYPER_WINDOW, j % 2 == 1) for j in range(s.depths[i])]

        self.g_a = nn.Sequential(
            Down(3, wide), *stage(0), Down(wide, wide), *stage(1), Down(wide, wide), *stage(2), conv3(wide, s.latent, 2)
        )
        self.g_s = nn.Sequential(
            Up(s.latent, wide), *stage(3), Up(wide, wide), *stage(4), Up(wide, wide), *stage(5), subpixel(wide, 3)
        )
        self.h_a = nn.Sequential(Down(s.latent, wide), *hyper_stage(0), conv3(wide, s.hyper, 2))
        self.h_mean_s = nn.Sequential(Up(s.hyper, wide), *hyper_stage(3), subpixel(wide, s.latent))
        self.h_scale_s = nn.Sequential(Up(s.hyper, wide), *hyper_stage(3), subpixel(wide, s.latent))
        self.charm = Charm(
            s.latent, s.slices, s.support, s.prior_widths,
            lambda channels: SwAtten(channels, s.prior_head, WINDOW, s.inner),
        )  # fmt: skip
