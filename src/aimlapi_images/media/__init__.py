"""From response bytes to image files."""
