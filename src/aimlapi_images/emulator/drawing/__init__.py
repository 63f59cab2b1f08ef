"""Pixels: what the emulator draws in place of generated images. Knows nothing of requests."""
