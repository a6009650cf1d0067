"""Gradient adjustment learning (GAL)."""
