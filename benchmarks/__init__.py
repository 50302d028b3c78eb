"""How near each path comes to its own limit: `python -m benchmarks`."""
