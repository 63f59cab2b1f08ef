"""Where the images of a batch are: in its folder, or in object storage."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import attrs

from aimlapi_images.batch.store import folder
from aimlapi_images.batch.store.folder import CHANGED, MISSING, StoredImage
from aimlapi_images.errors import BatchError


class Place(Protocol):
    """Where the images are. Its methods block, and raise `BatchError` if it cannot be read."""

    @property
    def bucket(self) -> str | None:
        """Its URL, if it is in object storage."""

    def has_images(self) -> bool:
        """Whether there are images in it."""

    def problem(self, image: StoredImage, *, verify: bool, dry: bool) -> str | None:
        """What is wrong with an image, as the end of a sentence. A changed one is put aside, unless `dry`.

        It is read only if it may have changed, or to `verify` it.
        """

    def find(self, stem: str) -> StoredImage | None:
        """The image with this name, whatever its extension."""


@attrs.frozen
class FolderPlace:
    """The folder of the state."""

    out: Path
    bucket: None = None

    def __str__(self) -> str:
        return str(self.out)

    def has_images(self) -> bool:
        return self.out.is_dir() and folder.has_images(self.out)

    def problem(self, image: StoredImage, *, verify: bool, dry: bool) -> str | None:
        try:
            if folder.is_unchanged(self.out, image, verify=verify):
                return None
            path = self.out / image.path
            aside = path if dry else folder.set_aside(path)
        except FileNotFoundError:
            return MISSING
        except OSError as error:
            raise BatchError(f"{self.out / image.path} cannot be read: {error.strerror}") from error
        return f"{CHANGED} {aside.name}"

    def find(self, stem: str) -> StoredImage | None:
        found = folder.existing(self.out / stem)
        try:
            return None if found is None else folder.describe(self.out, found)
        except ValueError as error:
            raise BatchError(f"{found} is not an image: {error}") from error
