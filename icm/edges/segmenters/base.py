"""What every segmenter offers, and how its options are read from text."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np


class NotLabelled(ValueError):
    """The segmenter knows nothing of this picture (it is not in the annotations)."""


class Found(NamedTuple):
    """A label map (H, W) of integers, and how many masks it was painted from (None where there were no masks)."""

    labels: np.ndarray
    masks: int | None


class Segmenter(ABC):
    """Picture (H, W, 3) uint8 RGB to label maps (H, W) of integers, 0 where nothing was found.

    name: as on the command line. scored: whether its masks have scores for alpha to choose by. notice: a line that the
    user must read, or None.
    """

    name: str
    scored: bool = False
    notice: str | None = None

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything besides the picture and alpha that decides its label maps, as JSON: two alike give the same."""

    def prepare(self) -> None:  # noqa: B027 (most need nothing)
        """Obtain packages and weights before the first picture. Raises OSError, ValueError, ImportError."""

    def check(self, alphas: Sequence[float | None]) -> None:  # noqa: B027 (most can serve any)
        """Raise ValueError, before any work, where these alphas cannot be served."""

    @abstractmethod
    def label_maps(self, picture: np.ndarray, name: str, alphas: Sequence[float | None]) -> list[np.ndarray]:
        """One label map for each alpha, of the picture called `name` (its path below the input folder, `/` between).

        alphas: [None] where `scored` is false. Raises NotLabelled, or ValueError or OSError for annotations that are
        damaged or do not fit the picture.
        """

    def find(
        self, pictures: Sequence[np.ndarray], names: Sequence[str], alphas: Sequence[float | None]
    ) -> list[list[Found] | Exception]:
        """Of a batch of pictures, what `label_maps` gives each, or why it gives nothing (its errors, MemoryError)."""
        results: list[list[Found] | Exception] = []
        for picture, name in zip(pictures, names, strict=True):
            try:
                results.append([Found(labels, None) for labels in self.label_maps(picture, name, alphas)])
            except (ValueError, OSError, MemoryError) as error:
                results.append(error)
        return results


Options = TypeVar("Options")


def read_options(kind: type[Options], given: dict[str, str], owner: str) -> Options:
    """A dataclass of options from KEY -> text; a field's default says its type (int, float or str).

    Raises ValueError for an unknown key, listing the known ones, and for text that is not of the type.
    """
    defaults: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in defaults:
            known = ", ".join(f"{name}={value}" for name, value in defaults.items()) or "none"
            raise ValueError(f"{owner} has no option {key!r}: it takes {known}")
        wanted = type(defaults[key])
        try:
            values[key] = wanted(text)
        except ValueError:
            kind_of = "a whole number" if wanted is int else "a number"
            raise ValueError(f"option {key}={text} of {owner} is not {kind_of}") from None
    return kind(**values)
