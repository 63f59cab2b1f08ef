"""Object storage: where a batch's images go if `out` is a URL that fsspec knows, such as `s3://bucket/folder`."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import attrs

from aimlapi_images.about import needs_extra
from aimlapi_images.batch.store.folder import CHANGED, MISSING, StoredImage
from aimlapi_images.errors import BatchError, InvalidRequestError
from aimlapi_images.media.formats import EXTENSIONS, format_of, read_whole_image
from aimlapi_images.orders.order import absolute, as_path

_BUCKETS: Final = {"s3", "gs", "az", "abfs", "oss"}
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:://|::)")


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether a place is a URL, not a path."""
    return isinstance(place, str) and _URL.match(place) is not None


def located(out: str | os.PathLike[str], state: str | os.PathLike[str] | None = None) -> tuple[Path, Bucket | None]:
    """The folder of a batch's state, and the bucket of its images if `out` is a URL.

    Raises:
        InvalidRequestError: `out` is no path, and no URL that can be used.
    """
    if not is_url(out):
        if state is not None:
            raise InvalidRequestError("state is for a batch in object storage: otherwise it is in the folder itself")
        return absolute(as_path(out, "out")), None
    bucket = Bucket.at(str(out))
    words = re.sub(r"[^A-Za-z0-9._]+", "-", bucket.url.partition("://")[2]).strip("-.")
    return absolute(as_path(state if state is not None else f"{words or 'batch'}.state", "state")), bucket


def open_file(url: str) -> IO[bytes]:
    """Open a file in object storage for reading.

    Raises:
        InvalidRequestError: It cannot be opened.
    """
    fs, path = _file_system(url)
    try:
        return io.BufferedReader(fs.open(path, "rb"))
    except Exception as error:  # each file system has errors of its own
        raise InvalidRequestError(f"{url} cannot be read: {_reason(error)}") from error


@attrs.frozen
class Bucket:
    """A folder in object storage. Its methods block, and raise `BatchError` for what the storage says.

    Attributes:
        url: Its URL, without a slash at the end.
    """

    url: str
    _fs: Any = attrs.field(repr=False)
    _root: str = attrs.field(repr=False)

    @classmethod
    def at(cls, url: str) -> Bucket:
        """The folder with this URL; it need not exist.

        Raises:
            InvalidRequestError: fsspec does not know such URLs, or a package is missing.
        """
        fs, root = _file_system(url)
        return cls(url.rstrip("/"), fs, root.rstrip("/"))

    def write(self, name: str, data: bytes) -> None:
        """Write an object: it appears whole, or stays as it was."""
        with _errors(f"{self.url}/{name} cannot be written"):
            self._in_folder(name, lambda path: self._fs.pipe_file(path, data))

    def put(self, name: str, file: Path) -> None:
        """Copy a file to an object."""
        with _errors(f"{self.url}/{name} cannot be written"):
            self._in_folder(name, lambda path: self._fs.put_file(str(file), path))

    def _in_folder(self, name: str, write: Callable[[str], object]) -> None:
        """Write an object, and make its folder if there is none. Buckets are not made: a name may be misspelt."""
        path = f"{self._root}/{name}"
        try:
            write(path)
        except FileNotFoundError:
            protocol = self._fs.protocol
            if _BUCKETS & set([protocol] if isinstance(protocol, str) else protocol):
                raise
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            write(path)

    def read(self, name: str) -> bytes | None:
        """Read an object; `None` if there is no such object."""
        with _errors(f"{self.url}/{name} cannot be read"):
            try:
                data: bytes = self._fs.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
            return data

    def has(self, name: str) -> bool:
        """Whether there is such an object."""
        with _errors(f"{self.url}/{name} cannot be read"):
            self._fs.invalidate_cache()
            return bool(self._fs.exists(f"{self._root}/{name}"))

    def get(self, name: str, file: str) -> None:
        """Copy an object to a file."""
        with _errors(f"{self.url}/{name} cannot be read"):
            self._fs.get_file(f"{self._root}/{name}", file)

    def rename(self, name: str, new: str) -> None:
        """Give an object another name."""
        with _errors(f"{self.url}/{name} cannot be renamed"):
            self._fs.mv(f"{self._root}/{name}", f"{self._root}/{new}")

    def digest(self, name: str) -> str:
        """The SHA-256 of an object, in hexadecimal."""
        with _errors(f"{self.url}/{name} cannot be read"):
            return hashlib.sha256(self._fs.cat_file(f"{self._root}/{name}")).hexdigest()

    def sizes(self, folder: str) -> dict[str, int]:
        """The sizes in bytes of the objects in one folder, by name."""
        with _errors(f"{self.url}/{folder} cannot be listed"):
            self._fs.invalidate_cache()
            try:
                found = self._fs.ls(f"{self._root}/{folder}".rstrip("/"), detail=True)
            except FileNotFoundError:
                return {}
            return {each["name"].rpartition("/")[2]: each["size"] for each in found if each["type"] == "file"}

    def describe(self, name: str, number: int = 1) -> StoredImage:
        """Read what the state keeps about an image."""
        with _errors(f"{self.url}/{name} cannot be read"):
            data = self._fs.cat_file(f"{self._root}/{name}")
        with _errors(f"{self.url}/{name} is not an image"):
            kind = read_whole_image(data)
        digest = hashlib.sha256(data).hexdigest()
        return StoredImage(number, name, len(data), digest, 0, kind.name, kind.width, kind.height)


class BucketPlace:
    """A bucket as the place of a batch's images. It is listed folder by folder, as it is asked for."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._folder: str | None = None
        self._sizes: dict[str, int] = {}

    def __str__(self) -> str:
        return self._bucket.url

    @property
    def bucket(self) -> str:
        return self._bucket.url

    def has_images(self) -> bool:
        return any(format_of(PurePosixPath(name)) is not None for name in self._bucket.sizes(""))

    def problem(self, image: StoredImage, *, verify: bool, dry: bool) -> str | None:
        size = self._listed(image.path).get(image.path.rpartition("/")[2])
        if size is None:
            return MISSING
        if size == image.bytes and (not verify or self._bucket.digest(image.path) == image.sha256):
            return None
        folder, _, name = image.path.rpartition("/")
        stem, _, end = name.rpartition(".")
        names = (f"{stem}~changed-{number}.{end}" for number in itertools.count(1))
        aside = next(name for name in names if name not in self._sizes)
        if not dry:
            self._bucket.rename(image.path, f"{folder}/{aside}".lstrip("/"))
            self._sizes[aside] = self._sizes.pop(name)
        return f"{CHANGED} {aside}"

    def find(self, stem: str) -> StoredImage | None:
        listed = self._listed(stem)
        ends = (end for each in EXTENSIONS.values() for end in each)
        end = next((end for end in ends if stem.rpartition("/")[2] + end in listed), None)
        return None if end is None else self._bucket.describe(stem + end)

    def _listed(self, name: str) -> dict[str, int]:
        """The sizes of the objects beside this one. Only those of the latest folder are kept."""
        folder = name.rpartition("/")[0]
        if folder != self._folder:
            self._sizes, self._folder = self._bucket.sizes(folder), folder
        return self._sizes


def _file_system(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ModuleNotFoundError as error:
        raise InvalidRequestError(needs_extra(f"{url}", "cloud")) from error
    try:
        found: tuple[Any, str] = fsspec.url_to_fs(url)
    except (ValueError, ImportError) as error:  # an unknown protocol, or one that needs another package
        raise InvalidRequestError(f"{url} cannot be used: {_reason(error)}") from error
    return found


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Errors of the storage as `BatchError`. Each file system has errors of its own."""
    try:
        yield
    except (BatchError, InvalidRequestError):
        raise
    except Exception as error:
        raise BatchError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300]
