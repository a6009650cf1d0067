"""What the methods cost; ``python -m benchmarks.costs --help`` lists it."""
