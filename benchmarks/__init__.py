"""Experiments with optaxmods; ``python -m benchmarks --help`` lists them."""
