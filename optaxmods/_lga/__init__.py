"""Loss-aware gradient adjustment (LGA)."""
