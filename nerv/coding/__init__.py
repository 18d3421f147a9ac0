"""Weights to bytes: integer tables for bell-shaped symbols, quantised tensors, half-precision arrays."""
