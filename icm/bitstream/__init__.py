"""The .vcm file and its entropy coder: the only writer, the only reader. README.md is the normative page. No torch."""

from .coder import Decoder, Encoder
from .errors import Damaged, Desynchronised, LimitExceeded, NotVcm, StreamError, Truncated, Unsupported
from .tables import Tables

__all__ = [
    "Damaged",
    "Decoder",
    "Desynchronised",
    "Encoder",
    "LimitExceeded",
    "NotVcm",
    "StreamError",
    "Tables",
    "Truncated",
    "Unsupported",
]
