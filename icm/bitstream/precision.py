"""How decoders compute, whatever the caller has set. Imported by what decodes pixels, not by the package: needs torch.

    gradients, autocast: off        float32 convolutions and products: in float32 (not TF32, not bfloat16)

Where a float decides no symbol (`sa-icm-s`, `groups`, networks) this is about pixels alone; in `same-build` codecs the
symbols hang on it too. What no caller sets, such as kernels and their order of adding, stays as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 is float32 in here; all is as before at the end."""
    import torch

    # Not torch.set_float32_matmul_precision: it leaves convolutions alone, and reading it raises where the caller has
    # set the newer attributes to what it cannot say.
    products = (torch.backends.mkldnn.matmul, torch.backends.mkldnn.conv,  # type: ignore[attr-defined]
                torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        for backend in products:
            stack.callback(setattr, backend, "fp32_precision", backend.fp32_precision)
            backend.fp32_precision = "ieee"
        yield


def on_its_own(function: Callable[P, R]) -> Callable[P, R]:
    """In `full_precision`: the same call gives the same file, and the same pixels, wherever it stands."""

    @functools.wraps(function)
    def quiet(*args: P.args, **kwargs: P.kwargs) -> R:
        with full_precision():
            return function(*args, **kwargs)

    return quiet
