"""Float priors on other builds: what threads, layout and kernels do to table indices, and what the guard makes of it.

    python -m benchmarks.same_build --weights icm-93.safetensors --pictures ../shared/data/coco128/images/val --count 8

Files are written with one setting and read with the others (this process stands in for other machines): wrong indices
there would be without the guard, files that decode with it, and the bytes that it costs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.__main__ import texture

GUARDS = (0, 12, 14, 16, 18)
SETTINGS: dict[str, dict[str, Any]] = {
    "as written": {},
    "one thread": {"threads": 1},
    "four threads": {"threads": 4},
    "no oneDNN": {"onednn": False},
    "rows first": {"rows_first": True},
    "rows first, no oneDNN": {"rows_first": True, "onednn": False},
}


@contextmanager
def setting(net: Any, threads: int = 0, onednn: bool = True, rows_first: bool = False) -> Iterator[None]:
    """torch and the network set so, and back again."""
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        torch.backends.mkldnn.enabled = onednn  # type: ignore[assignment]
        net.to(memory_format=torch.contiguous_format if rows_first else torch.channels_last)
        yield
    finally:
        torch.set_num_threads(before)
        torch.backends.mkldnn.enabled = True  # type: ignore[assignment]
        net.to(memory_format=torch.channels_last)


@contextmanager
def recorded(found: list[np.ndarray]) -> Iterator[None]:
    """What each slice's scales choose alone."""
    from icm.codecs import charm
    from icm.codecs.guard import EDGES, agree

    def watched(coder: Any, scale: Any, bits: int, encoding: bool) -> np.ndarray:
        found.append(np.searchsorted(EDGES, scale.double().numpy()))
        return agree(coder, scale, bits, encoding)

    charm.agree = watched
    try:
        yield
    finally:
        charm.agree = agree


def main() -> int:
    """Print both tables; exit code 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", required=True, help="of a codec whose prior is in floats (safetensors)")
    parser.add_argument("--pictures", type=Path, help="a folder (default: a drawn texture of 256x384)")
    parser.add_argument("--count", type=int, default=4, help="how many of them (default 4)")
    parser.add_argument("--guard", type=int, default=16, help="bits (default 16)")
    arguments = parser.parse_args()

    from icm.bitstream import StreamError
    from icm.codecs.same_build import coder_of
    from pipelines.media import list_pictures, read_picture

    coder = coder_of(arguments.weights)
    paths = list_pictures(arguments.pictures)[: arguments.count] if arguments.pictures else []
    pictures = [read_picture(path) for path in paths] or [texture(256, 384)]
    sizes = {guard: sum(len(coder.encode_tile(picture, guard)) for picture in pictures) for guard in GUARDS}
    for guard, size in sizes.items():
        print(f"guard {guard:2d} bits: {size:,} bytes ({100 * (size / sizes[0] - 1):+.3f} %)")
    files = [(coder.encode_tile(picture, arguments.guard), *picture.shape[:2]) for picture in pictures]
    print(f"\n{len(files)} files with a guard of {arguments.guard} bits, read with other settings")
    written: dict[int, list[np.ndarray]] = {}  # file → its indices, as the first setting has them
    for name, options in SETTINGS.items():
        decoded, wrong, symbols = 0, 0, 0
        with setting(coder.net, **options):
            for i, (payload, height, width) in enumerate(files):
                found: list[np.ndarray] = []
                with recorded(found):
                    try:
                        coder.decode_tile(payload, height, width, arguments.guard)
                        decoded += 1
                    except StreamError as error:
                        print(f"  {error}")
                # of a file that was refused, the slices before
                wrong += sum(int((a != b).sum()) for a, b in zip(written.setdefault(i, found), found, strict=False))
                symbols += sum(index.size for index in found)
        print(f"{name:<22} {decoded} decode; without the guard {wrong} of {symbols:,} indices would be wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
