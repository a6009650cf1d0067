"""Runs of studies, and the files that they leave."""
