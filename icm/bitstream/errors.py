"""What can be wrong with a stream, as exceptions whose message is one line: what, where, and what to do.

All are `StreamError`, which is a `ValueError`: who only wants "this file is refused, because" catches one class.
"""

from __future__ import annotations


class StreamError(ValueError):
    """A file or payload that cannot be decoded; the message says why in one line."""


class NotVcm(StreamError):
    """The bytes do not begin like a .vcm file."""


class Unsupported(StreamError):
    """A valid file that needs a newer version or a feature which this one lacks."""


class LimitExceeded(StreamError):
    """A file that asks for more than the caller's limits allow; nothing has been allocated."""


class Damaged(StreamError):
    """A checksum, a length or a field contradicts the rest of the file."""


class Truncated(Damaged):
    """The file ends before its header says that it does."""


class OtherWeights(StreamError):
    """An intact file, as far as can be told, made with weights that are not at hand."""


class Desynchronised(StreamError):
    """The entropy decoder did not end where the encoder began: a damaged payload, or other tables or indices."""
