"""What a pipeline survives: `python -m benchmarks.survival`."""
