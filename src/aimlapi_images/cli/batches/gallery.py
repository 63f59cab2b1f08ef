"""`aimlapi-images gallery`, and the gallery at the end of a batch."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Final

import click

from aimlapi_images.about import needs_extra
from aimlapi_images.cli.process import INTERRUPTED, complain, fail

_MOST_JOBS: Final = 20_000  # whose thumbnails are made without being asked: that takes minutes


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--no-thumbnails", is_flag=True, help="Make no small copies: the page shows the images themselves.")
def gallery(folder: Path, no_thumbnails: bool) -> int:
    """Write FOLDER/index.html, which shows the batch in FOLDER: images, failures and costs.

    The page needs no network: open it in a browser. Small copies of the images are in FOLDER/.thumbnails.

    Exit codes: 0 success, 2 usage error, 4 no batch in this folder, 130 interrupted.
    """
    from aimlapi_images.errors import ImageError
    from aimlapi_images.gallery.thumbnails import available

    if not no_thumbnails and not available():
        complain(f"the gallery has no thumbnails: {needs_extra('making them', 'images')}")
    try:
        page = _write(folder, thumbnails=not no_thumbnails, quiet=False)
    except ImageError as error:
        return fail(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    click.echo(str(page))
    return 0


def write_after_batch(folder: Path, jobs: int, *, quiet: bool) -> None:
    """Write the gallery of a batch that has ended, if Pillow is installed. Whatever fails is only said."""
    from aimlapi_images.gallery.thumbnails import available

    if not available():
        return
    if jobs > _MOST_JOBS:
        if not quiet:
            click.echo(f"for a gallery of so many jobs: aimlapi-images gallery {shlex.quote(str(folder))}", err=True)
        return
    try:
        page = _write(folder, thumbnails=True, quiet=quiet)
    except (Exception, KeyboardInterrupt) as error:
        complain(
            f"the gallery is not written: {str(error) or type(error).__name__}",
            f"to try again: aimlapi-images gallery {shlex.quote(str(folder))}",
        )
        return
    if not quiet:
        click.echo(f"gallery: {page}", err=True)


def _write(folder: Path, *, thumbnails: bool, quiet: bool) -> Path:
    """Write the gallery, and say how far it is on a terminal: thumbnails of thousands of images take minutes."""
    from aimlapi_images.gallery.page import write_gallery

    if quiet or sys.stderr is None or not sys.stderr.isatty():
        return write_gallery(folder, thumbnails=thumbnails)

    def say(written: int, jobs: int) -> None:
        click.echo(f"\rgallery: {written:,} of {jobs:,} jobs", nl=False, err=True)

    try:
        return write_gallery(folder, thumbnails=thumbnails, progress=say)
    finally:
        click.echo(err=True)
