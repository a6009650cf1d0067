"""Adaptive gradient regularization (AGR)."""
