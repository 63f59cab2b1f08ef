"""The state of a batch on disk."""
