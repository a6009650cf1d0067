"""Adan as published."""
