"""A batch to look at: one HTML page for a folder, and grids of images in a notebook.

write_gallery("images")                    # images/index.html
grid(images)                               # as the last line of a notebook's cell
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aimlapi_images.about import loader

if TYPE_CHECKING:
    from aimlapi_images.gallery.notebook import Grid, grid
    from aimlapi_images.gallery.page import write_gallery

_HOMES = {"Grid": ".notebook", "grid": ".notebook", "write_gallery": ".page"}

__all__ = ["Grid", "grid", "write_gallery"]

if not TYPE_CHECKING:  # a type checker would accept any name
    __getattr__ = loader(__name__, _HOMES)
