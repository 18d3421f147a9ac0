"""Are the symbols the same whatever the threads, the batch, the layout, the kernels, the precision modes?

    python benchmarks/portability.py [PICTURES] [--codec sa-icm-s:30] [--limit 64]

Streams are made once, with one thread. Each setting then decodes all of them to symbols in a fresh process, and codes
them anew from the same latents; a mismatch is a stream whose symbols or whose new bytes differ. PICTURES: a folder
(default: the validation pictures of VCM_SHARED).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SETTINGS: dict[str, dict[str, str]] = {
    "1 thread (again)": {},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "batch 8": {"PORTABILITY": "batch"},
    "channels_last": {"PORTABILITY": "channels_last"},
    "without oneDNN": {"PORTABILITY": "no-onednn"},
    "autocast bfloat16": {"PORTABILITY": "autocast"},
    "float32 precision 'medium'": {"PORTABILITY": "medium"},
    "ONEDNN_MAX_CPU_ISA=SSE41": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "ONEDNN_MAX_CPU_ISA=AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "ONEDNN_DEFAULT_FPMATH_MODE=BF16": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"},
    "ATEN_CPU_CAPABILITY=default": {"ATEN_CPU_CAPABILITY": "default"},
    "ATEN_CPU_CAPABILITY=avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
}


def worker(codec: str, folder: Path) -> None:
    """Print, for every stream of `folder`, a hash of its decoded symbols and of the bytes its latent gives anew."""
    import contextlib

    import numpy as np
    import torch

    from icm.bitstream import read
    from icm.codecs.picture import tiles
    from pipelines.codecs import parse

    mode = os.environ.get("PORTABILITY", "")
    torch.backends.mkldnn.enabled = mode != "no-onednn"  # type: ignore[assignment]
    if mode == "medium":
        torch.set_float32_matmul_precision("medium")
    coder = parse(codec).coder
    if mode == "channels_last":
        conv = coder.prior.features
        coder.prior.features = lambda z, *size: conv(z.contiguous(memory_format=torch.channels_last), *size)
    if mode == "batch":
        features, step_1, step_2 = coder.prior.features, coder.prior.step_1, coder.prior.step_2
        coder.prior.features = lambda z, *size: features(z.repeat(8, 1, 1, 1), *size)[3:4]
        coder.prior.step_1 = lambda f: tuple(t[5:6] for t in step_1(f.repeat(8, 1, 1, 1)))
        coder.prior.step_2 = lambda f, y: tuple(t[7:8] for t in step_2(f.repeat(8, 1, 1, 1), y.repeat(8, 1, 1, 1)))
    context = torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else contextlib.nullcontext()
    for path in sorted(folder.glob("*.vcm")):
        latent = torch.from_numpy(np.load(path.with_suffix(".npy")))
        with read(path) as stream, context:
            code = int.from_bytes(stream.header.parameters[:2], "little")
            digest = hashlib.sha256()
            for i, (r0, r1, c0, c1) in enumerate(tiles(*latent.shape[1:], 1 << stream.header.parameters[2])):
                y_hat = coder.decode_tile(stream.section(i), r1 - r0, c1 - c0, code)
                # y_hat·2^12 is whole: what the symbols and the means say, before any transform
                digest.update(y_hat.numpy().tobytes())
                digest.update(coder.encode_tile(latent[:, r0:r1, c0:c1], code)[0])
        print(path.stem, digest.hexdigest())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("VCM_SHARED", "../shared"))
    parser.add_argument("pictures", nargs="?", type=Path, default=shared / "data/coco128/images/val")
    parser.add_argument("--codec", default="sa-icm-s:30")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.codec, arguments.worker)
        return
    import numpy as np

    from pipelines.codecs import parse
    from pipelines.media import list_pictures, read_picture

    codec = parse(arguments.codec)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in list_pictures(arguments.pictures)[: arguments.limit]:
            picture = read_picture(path)
            (folder / f"{path.stem}.vcm").write_bytes(codec.encode(picture))
            np.save(folder / f"{path.stem}.npy", codec.coder.analyse(picture, codec.code).numpy())
        count = len(list(folder.glob("*.vcm")))
        print(f"{count} pictures, {arguments.codec}")
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("ONEDNN", "ATEN", "OMP", "PORTABILITY"))}
        reference: list[str] = []
        for setting, extra in SETTINGS.items():
            command = [sys.executable, "-W", "ignore", __file__, "--codec", arguments.codec, "--worker", name]
            env = {**plain, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), **extra}
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            lines = done.stdout.splitlines()
            reference = reference or lines
            wrong = len(set(reference) ^ set(lines)) // 2 + abs(count - len(lines))
            print(
                f"{setting:<36} {wrong:>3} mismatches of {len(lines)}"
                + (f"   {done.stderr.splitlines()[-1]}" if done.returncode else "")
            )


if __name__ == "__main__":
    main()
