"""VVenC, VTM and HM as picture codecs, through programs that the user installs; the command lines are recorded.

    picture -> pad -> BT.709 limited 4:2:0 -> IN.yuv -> encoder -> STREAM (+ crop unit if padded) -> decoder -> OUT.yuv

| name | encoder, decoder on PATH | or by variable | configuration |
|---|---|---|---|
| vvenc | vvencapp, vvdecapp | VCM_VVENC, VCM_VVDEC | preset medium, intra only, no perceptual adaptation |
| vtm | EncoderAppStatic or EncoderApp, Decoder... | VCM_VTM_ENCODER, VCM_VTM_DECODER | VCM_VTM_CFG |
| hm | TAppEncoderStatic or TAppEncoder, TAppDecoder... | VCM_HM_ENCODER, VCM_HM_DECODER | VCM_HM_CFG |

VCM_..._CFG names the intra configuration that comes with the reference software; by default the one in cfg/ of the tree
that the encoder was built in and, for HM, the values of its encoder_intra_main.cfg. One thread, 8 bits in and out.
Streams carry no colour tags; supplemental information is dropped and the padding recorded as for x265. All bytes count.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval.anchors.colour import Planes, rgb_to_yuv420, yuv420_to_rgb
from eval.anchors.units import add_crop, read_crop, strip_sei

ALIGN, SMALLEST = 8, 64  # VVC's and HEVC's smallest coding unit; a side of at least one coding tree unit
HM_MAIN = ("--Profile=main --Level=6.2 --MaxCUWidth=64 --MaxCUHeight=64 --MaxPartitionDepth=4 "
           "--QuadtreeTULog2MaxSize=5 --QuadtreeTULog2MinSize=2 --QuadtreeTUMaxDepthInter=3 "
           "--QuadtreeTUMaxDepthIntra=3 --IntraPeriod=1 --GOPSize=1 --RDOQ=1 --RDOQTS=1 --TransformSkip=1 "
           "--TransformSkipFast=1 --SAO=1")  # fmt: skip
REFERENCE = ("-i {input} -wdt {width} -hgt {height} -fr 25 -f 1 -q {quality} --InputBitDepth=8 --OutputBitDepth=8 "
             "--InternalBitDepth={depth} --InputChromaFormat=420 --SEIDecodedPictureHash=0 -b {stream} "
             "-o {nothing}")  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """An encoder with its decoder, and how both are called. `{cfg}` is a file; `plain` is used where there is none."""

    name: str
    suffix: str
    syntax: str  # of units.py; also FFmpeg's name of the raw format
    encoders: tuple[str, ...]
    decoders: tuple[str, ...]
    variables: tuple[str, str, str]  # of the encoder, the decoder and the configuration
    encode: str
    decode: str
    qualities: tuple[int, int]
    cfg: str = ""  # its name in the source tree
    plain: str = ""


KINDS = {
    "vvenc": Kind("vvenc", ".266", "vvc", ("vvencapp",), ("vvdecapp",), ("VCM_VVENC", "VCM_VVDEC", ""),
                  "-i {input} -s {width}x{height} -c yuv420 -r 25 -f 1 -q {quality} --preset medium --intraperiod 1 "
                  "--qpa 0 -t 1 -o {stream}", "-b {stream} -o {output} -t 1", (0, 63)),
    "vtm": Kind("vtm", ".266", "vvc", ("EncoderAppStatic", "EncoderApp"), ("DecoderAppStatic", "DecoderApp"),
                ("VCM_VTM_ENCODER", "VCM_VTM_DECODER", "VCM_VTM_CFG"), "-c {cfg} " + REFERENCE.replace("{depth}", "10"),
                "-b {stream} -o {output} -d 8", (0, 63), "encoder_intra_vtm.cfg"),
    "hm": Kind("hm", ".hevc", "hevc", ("TAppEncoderStatic", "TAppEncoder"), ("TAppDecoderStatic", "TAppDecoder"),
               ("VCM_HM_ENCODER", "VCM_HM_DECODER", "VCM_HM_CFG"), "-c {cfg} " + REFERENCE.replace("{depth}", "8"),
               "-b {stream} -o {output} -d 8", (0, 51), "encoder_intra_main.cfg", HM_MAIN),
}  # fmt: skip


@dataclass(frozen=True)
class External:
    """One still picture by an installed encoder. Quality is the quantiser: larger is smaller and worse."""

    name: str
    quality: int
    kind: Kind
    encoder: str
    decoder: str
    cfg: str  # "" where the built-in values are used
    threads: ClassVar[int] = 1

    def __post_init__(self) -> None:
        low, high = self.qualities
        if not low <= self.quality <= high:
            raise ValueError(f"{self.name}:{self.quality}: the quality is a whole number from {low} to {high}")

    @property
    def suffix(self) -> str:
        return self.kind.suffix

    @property
    def qualities(self) -> tuple[int, int]:
        return self.kind.qualities

    @property
    def command(self) -> str:
        """Both command lines, with words in capitals for what changes from picture to picture."""
        words = {"input": "IN.yuv", "stream": "STREAM", "output": "OUT.yuv", "width": "WIDTH", "height": "HEIGHT"}
        return f"{shlex.join(self._encode_words(words))} && {shlex.join(self._decode_words(words))}"

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the programs, the configuration and the command: what decides a stream."""
        digest = hashlib.sha256(self.command.encode())
        for path in (self.encoder, self.decoder, self.cfg):
            digest.update(Path(path).read_bytes() if path else b"")
        return digest.hexdigest()

    def encode(self, picture: np.ndarray) -> bytes:
        """The stream's bytes of a (H, W, 3) uint8 RGB picture; ValueError, one line, where the encoder fails."""
        height, width = picture.shape[:2]
        rows, columns = (max(SMALLEST, -(-length // ALIGN) * ALIGN) - length for length in (height, width))
        planes = rgb_to_yuv420(np.pad(picture, ((0, rows), (0, columns), (0, 0)), mode="edge"))
        with tempfile.TemporaryDirectory(prefix="vcm-") as folder:
            source, stream = Path(folder, "in.yuv"), Path(folder, f"stream{self.suffix}")
            source.write_bytes(b"".join(plane.tobytes() for plane in planes))
            words = {"input": source, "stream": stream, "width": width + columns, "height": height + rows}
            self._run(self._encode_words(words), f"{self.name}:{self.quality} refuses a {width}x{height} picture")
            if not stream.is_file() or not stream.stat().st_size:
                raise ValueError(f"{self.name}:{self.quality}: {self.encoder} wrote no stream")
            data = strip_sei(self.kind.syntax, stream.read_bytes())
        return add_crop(self.kind.syntax, data, columns, rows)

    def decode(self, data: bytes) -> np.ndarray:
        """The (H, W, 3) uint8 RGB picture, from the stream's bytes alone. ValueError where they are damaged."""
        data, columns, rows = read_crop(self.kind.syntax, data)
        width, height = self._size(data)
        with tempfile.TemporaryDirectory(prefix="vcm-") as folder:
            stream, output = Path(folder, f"stream{self.suffix}"), Path(folder, "out.yuv")
            stream.write_bytes(data)
            self._run(self._decode_words({"stream": stream, "output": output}), f"damaged {self.name} stream")
            samples = np.fromfile(output, np.uint8) if output.is_file() else np.empty(0, np.uint8)
        planes = _planes(samples, width, height)
        if planes is None or rows >= height or columns >= width:
            raise ValueError(f"damaged {self.name} stream: {samples.size} bytes decoded for a {width}x{height} picture")
        return np.ascontiguousarray(yuv420_to_rgb(planes)[: height - rows, : width - columns])

    def _size(self, data: bytes) -> tuple[int, int]:
        """(width, height) that the stream's parameter sets state; decoders write samples without a size."""
        import io

        import av

        try:
            with av.open(io.BytesIO(data), format=self.kind.syntax) as container:
                context = container.streams.video[0].codec_context
                width, height = context.width, context.height
        except (av.FFmpegError, IndexError) as error:
            raise ValueError(f"damaged {self.name} stream: {error}") from None
        if not 0 < width * height <= 2**28:
            raise ValueError(f"damaged {self.name} stream: it states no size of a picture")
        return width, height

    def _encode_words(self, values: Mapping[str, object]) -> list[str]:
        text = self.kind.encode if self.cfg else self.kind.encode.replace("-c {cfg}", self.kind.plain)
        filled = {"quality": self.quality, "cfg": self.cfg, "nothing": os.devnull, **values}
        return [self.encoder, *(word.format_map(filled) for word in text.split())]

    def _decode_words(self, values: Mapping[str, object]) -> list[str]:
        return [self.decoder, *(word.format_map(values) for word in self.kind.decode.split())]

    @staticmethod
    def _run(words: list[str], what: str) -> None:
        try:
            done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        except OSError as error:  # not executable, wrong architecture
            raise ValueError(f"{what}: {words[0]} does not run ({error.strerror})") from None
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace").split("\n")
            line = next((line.strip() for line in said if "error" in line.lower()), "")
            raise ValueError(f"{what}: {words[0]} ended with code {done.returncode}{f' ({line})' if line else ''}")


def _planes(samples: np.ndarray, width: int, height: int) -> Planes | None:
    """Planes of one 8-bit frame, from 8 bits or from 10 in two bytes; None where the number of bytes is another."""
    count = width * height * 3 // 2
    if samples.size == 2 * count:
        samples = np.clip((samples.view("<u2").astype(np.int32) + 2) >> 2, 0, 255).astype(np.uint8)
    elif samples.size != count:
        return None
    luma, cb, cr = np.split(samples, [width * height, width * height * 5 // 4])
    chroma = (height // 2, width // 2)
    return luma.reshape(height, width), cb.reshape(chroma), cr.reshape(chroma)


def _find(name: str, variable: str, names: tuple[str, ...]) -> str:
    """The program's path, by variable or PATH; FileNotFoundError, one line, where it is not there."""
    given = os.environ.get(variable)
    found = shutil.which(given) if given else next(filter(None, map(shutil.which, names)), None)
    if found is None:
        where = f"{variable}={given} is not a program" if given else f"{' or '.join(names)} is not on PATH"
        raise FileNotFoundError(f"{name}: {where}; install it, or set {variable} to its path")
    return os.path.abspath(found)


def _build(name: str, quality: float | None) -> External:
    kind = KINDS[name]
    if quality is not None and quality != int(quality):
        raise ValueError(f"{name}:{quality}: the quality is a whole number")
    encoder, decoder = _find(name, kind.variables[0], kind.encoders), _find(name, kind.variables[1], kind.decoders)
    cfg = ""
    if kind.cfg:
        beside = Path(encoder).resolve().parent.parent / "cfg" / kind.cfg
        cfg = os.environ.get(kind.variables[2]) or (str(beside) if beside.is_file() else "")
        if (cfg and not Path(cfg).is_file()) or not (cfg or kind.plain):
            raise FileNotFoundError(f"{name}: {cfg or beside}: no such file; set {kind.variables[2]} to {kind.cfg} "
                                    "of its source tree")  # fmt: skip
    return External(name, 37 if quality is None else int(quality), kind, encoder, decoder,
                    os.path.abspath(cfg) if cfg else "")  # fmt: skip


def whereabouts(name: str) -> str:
    """Where the programs of `name` are, or the line that says what is missing."""
    try:
        codec = _build(name, None)
    except FileNotFoundError as error:
        return str(error).removeprefix(f"{name}: ")
    return f"{codec.encoder}, {codec.decoder}{f', {codec.cfg}' if codec.cfg else ''}"


def vvenc(quality: float | None = None) -> External:
    """VVC by VVenC, constant quantiser `quality` (0 to 63)."""
    return _build("vvenc", quality)


def vtm(quality: float | None = None) -> External:
    """VVC by its reference software, constant quantiser `quality` (0 to 63)."""
    return _build("vtm", quality)


def hm(quality: float | None = None) -> External:
    """HEVC by its reference software, constant quantiser `quality` (0 to 51)."""
    return _build("hm", quality)
