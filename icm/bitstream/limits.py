"""What a reader allows a file to ask for, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import LimitExceeded


@dataclass(frozen=True)
class Limits:
    """Each is inclusive. Raise one with `read(source, limits=Limits(pixels=1 << 30))`."""

    pixels: int = 1 << 28  # of one frame
    side: int = 32768  # pixels
    frames: int = 2_600_000  # a day at 30 fps
    header_bytes: int = 100_000_000
    sections: int = 1 << 22
    memory_bytes: int = 1 << 36  # what the header declares that decoding needs

    def check(self, name: str, value: int, what: str) -> None:
        """Raises LimitExceeded unless `value` is within the limit called `name`."""
        allowed = getattr(self, name)
        if value > allowed:
            raise LimitExceeded(f"limit: {what} {value} is more than the {allowed} allowed (Limits.{name} raises it)")

    def check_size(self, width: int, height: int) -> None:
        """Side and pixels of one frame."""
        self.check("side", max(width, height), "a side in pixels of")
        self.check("pixels", width * height, f"the number of pixels of {width}x{height}, ")
