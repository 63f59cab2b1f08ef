"""Benchmarks against peers in the same run: see `python -m bench --help`."""
