"""Entropy models whose table indices are integers on every machine."""

from icm.prior.dual import DualPrior
from icm.prior.integer import IntegerConv2d, ste_round

__all__ = ["DualPrior", "IntegerConv2d", "ste_round"]
