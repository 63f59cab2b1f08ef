"""What matters to users, measured against peers in the same run: see `python -m bench --help`."""
