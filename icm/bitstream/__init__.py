"""The .vcm file and its entropy coder: the only writer, the only reader. README.md is the normative page. No torch."""

from .coder import Decoder, Encoder
from .errors import Damaged, Desynchronised, LimitExceeded, NotVcm, OtherWeights, StreamError, Truncated, Unsupported
from .header import CHANGED_TILES, FEATURES, GROUPS_OF_FRAMES, KINDS, QUALITY_MAP, SAME_BUILD, Header
from .limits import Limits
from .reader import Stream, read
from .tables import Tables
from .times import Times
from .writer import write

__all__ = [
    "CHANGED_TILES",
    "FEATURES",
    "GROUPS_OF_FRAMES",
    "KINDS",
    "QUALITY_MAP",
    "SAME_BUILD",
    "Damaged",
    "Decoder",
    "Desynchronised",
    "Encoder",
    "Header",
    "LimitExceeded",
    "Limits",
    "NotVcm",
    "OtherWeights",
    "Stream",
    "StreamError",
    "Tables",
    "Times",
    "Truncated",
    "Unsupported",
    "read",
    "write",
]
