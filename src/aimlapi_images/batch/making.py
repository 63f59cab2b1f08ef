"""One job, from its order to its file. Each step is recorded, by `Record`, before the next one begins."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, Final, TypeVar, cast

import attrs

from aimlapi_images import errors
from aimlapi_images.batch.cloud.bucket import Bucket
from aimlapi_images.batch.cloud.cluster import Cluster
from aimlapi_images.batch.models import JobResult, Status, ending, is_gone
from aimlapi_images.batch.reading.checking import build
from aimlapi_images.batch.store import folder
from aimlapi_images.batch.store.database import Journal
from aimlapi_images.batch.store.record import Record
from aimlapi_images.batch.store.state import State
from aimlapi_images.client import ImageClient
from aimlapi_images.events import Observer
from aimlapi_images.media.files import write_whole
from aimlapi_images.models import GeneratedImage
from aimlapi_images.orders.order import images_expected

PathT = TypeVar("PathT", bound=PurePath)

_SAVE_AGAIN_AFTER: Final = (1.0, 4.0)  # seconds


@attrs.define
class Maker:
    """Makes the jobs of one run.

    Attributes:
        client: Sends the orders.
        state: The state; used in the journal's thread only.
        journal: Writes to the state.
        out: The folder of the state, and of the images if there is no bucket.
        nonce: Part of the order ids.
        observer: Told of the events of all orders.
        bucket: Where the images go, if not to the folder.
        cluster: Fetches images into the bucket, if there is one.
        sleep: Waits for a number of seconds.
        can_save: Cleared while a paid image cannot be saved: no job should be started then.
    """

    client: ImageClient
    state: State
    journal: Journal
    out: Path
    nonce: str
    observer: Observer
    bucket: Bucket | None = None
    cluster: Cluster | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    can_save: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _unsaved: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.can_save.set()

    async def make(self, row: Mapping[str, Any]) -> tuple[JobResult, errors.ImageError | None]:
        """Carry out one job. Returns its result, and why it has no file, if so.

        Raises:
            BatchError: Its end cannot be recorded.
        """
        record = Record(self.state, self.journal, self.observer, row["job"], fetches=row["status"] == Status.GENERATED)
        try:
            self.client._http.check_usable()
        except errors.InvalidRequestError as error:
            return await self._end(row, lambda: None), errors.BatchError(str(error))
        try:
            images = await self._images(row, record)
            if isinstance(images, dict):
                return await self._saved(row, images), None
            return await self._end(row, self.state.saved, None, row["job"], images), None
        except errors.ImageError as error:
            closed = self.client._http.api.is_closed and isinstance(error, errors.InvalidRequestError)
            failure = errors.BatchError(str(error)) if closed else error
            return await self._failed(row, record, failure), failure

    async def _end(self, row: Mapping[str, Any], work: Callable[..., object], *arguments: object) -> JobResult:
        """Make the last change to a job. Returns its result."""

        def change() -> Any:
            work(*arguments)
            return next(self.state.results(row["job"]))

        return JobResult.from_row(await self.journal.write(change))

    async def _images(self, row: Mapping[str, Any], record: Record) -> dict[Path, float] | list[folder.StoredImage]:
        """The files of a job, with the seconds that they took; or its images in the bucket."""
        folder_ = self._target(row).parent
        try:
            folder_.mkdir(exist_ok=True)
        except OSError as error:
            raise errors.BatchError(f"{folder_} cannot be written: {error.strerror}") from error
        if record.fetches:
            try:
                return await self._fetch(row)
            except errors.ImageError as error:
                if not row["remake"] or not is_gone(error):
                    raise
            record.fetches = False
        return await self._order(row, record)

    async def _order(self, row: Mapping[str, Any], record: Record) -> dict[Path, float] | list[folder.StoredImage]:
        """Order an image."""
        name = folder.order_id(self.nonce, row["id"], row["attempts"] + 1)
        order = await build(json.loads(row["parameters"]), self.client._threads, to=self._target(row), order=name)
        pipeline, deadline = self.client._pipeline, self.client._default_deadline
        try:
            image = await pipeline.run(order, deadline, record, fetch=self.cluster is None)
        except errors.NotSavedError as error:
            return await self._save_again(row, error)
        if image is None:
            return await self._fetch_there(row, record.urls)
        return {each.path: each.seconds for each in (image, *image.others) if each.path is not None}

    async def _fetch(self, row: Mapping[str, Any]) -> dict[Path, float] | list[folder.StoredImage]:
        """Fetch images that are paid for, or bring them back from where they were kept."""
        urls, kept = json.loads(row["urls"] or "[]"), _there(json.loads(row["kept"] or "[]"))
        target, paths = self._target(row), dict[Path, float]()
        if self.cluster is not None and urls and not kept and folder.existing(target) is None:
            return await self._fetch_there(row, urls)
        for number, source in enumerate(kept or urls, 1):
            each = _numbered(target, number)
            if (found := folder.existing(each)) is not None:
                paths[found] = 0.0
            elif kept:
                paths[await self.client._threads.run(_move, Path(source), each)] = 0.0
            else:
                try:
                    image = await self.client.fetch(source, to=each)
                except errors.NotSavedError as error:
                    return await self._save_again(row, error)
                paths |= {} if image.path is None else {image.path: image.seconds}
        if not paths:
            raise errors.NoImageError("the image is paid for, but its answer was lost, and it had no URL")
        return paths

    async def _fetch_there(self, row: Mapping[str, Any], urls: Sequence[str]) -> list[folder.StoredImage]:
        """Let the cluster fetch images into the bucket."""
        bucket, base_url = cast(Bucket, self.bucket), str(self.client._http.base_url)
        stem = self._target(row).relative_to(self.out)
        fetch = cast(Cluster, self.cluster).fetch
        return [
            await fetch(url, bucket, _numbered(stem, number).as_posix(), number, base_url)
            for number, url in enumerate(urls, 1)
        ]

    async def _saved(self, row: Mapping[str, Any], paths: Mapping[Path, float]) -> JobResult:
        """Record the files of a job, in the bucket if there is one."""
        if self.bucket is not None:
            for path in paths:
                await self.client._threads.run(self.bucket.put, path.relative_to(self.out).as_posix(), path)

        def save() -> None:  # in the journal's thread, as the files were just written: that saves a change of threads
            images = [folder.describe(self.out, path, n, seconds) for n, (path, seconds) in enumerate(paths.items(), 1)]
            self.state.saved(self.out if self.bucket is None else None, row["job"], images)

        try:
            result = await self._end(row, save)
        except (OSError, ValueError) as error:
            raise errors.BatchError(f"an image that was just written cannot be read: {error}") from error
        if self.bucket is not None:
            for path in paths:  # not earlier: until the state says where it is, this is the only copy that is known
                with suppress(OSError):
                    path.unlink()
        return result

    async def _save_again(self, row: Mapping[str, Any], error: errors.NotSavedError) -> dict[Path, float]:
        """Save a paid image that could not be written: here after a while, or else in the temporary folder."""
        images = [error.image, *error.image.others, *error.images]
        target, problem = self._target(row), error.__cause__
        if all(image.path is not None for image in images):  # only the observer failed: the state
            raise problem if isinstance(problem, errors.BatchError) else error
        self._unsaved += 1
        self.can_save.clear()
        try:
            for seconds in (*_SAVE_AGAIN_AFTER, None):
                try:
                    return {await _save(image, target, n): image.seconds for n, image in enumerate(images, 1)}
                except OSError as again:
                    problem = again
                if seconds is not None:
                    await self.sleep(seconds)
        finally:
            self._unsaved -= 1
            if not self._unsaved:
                self.can_save.set()
        kept: list[Path] = []
        with suppress(OSError):
            rescue = Path(tempfile.mkdtemp(prefix=f"aimlapi-images-{row['name'][:40]}-"))
            kept = [await _save(image, rescue / "image", n) for n, image in enumerate(images, 1)]
        with suppress(errors.BatchError):
            if kept:
                await self.journal.write(self.state.keep, row["job"], list(map(str, kept)))
        where = f"the image is kept as {', '.join(map(str, kept))}" if kept else "its image could not be kept elsewhere"
        raise errors.BatchError(f"{target} cannot be written ({problem}); {where}") from error

    async def _failed(self, row: Mapping[str, Any], record: Record, error: errors.ImageError) -> JobResult:
        """Record how a job ended without a file."""
        status = ending(error, generated=record.generated or record.fetches)
        if record.fetches and is_gone(error):
            status = Status.LOST
        if isinstance(error, errors.DecodeError) and error.data:
            with suppress(OSError):
                broken = self._target(row).with_name(f"{row['name']}~broken.bin")
                await self.client._threads.run(lambda: write_whole(broken, error.data, overwrite=True))
        if record.open is None:
            return await self._end(row, self.state.job_ends, row["job"], status, error)
        outcome = "unknown" if status is Status.UNKNOWN else "failed"
        return await self._end(row, self.state.attempt_ends, row["job"], record.open, outcome, error, status)

    def _target(self, row: Mapping[str, Any]) -> Path:
        return folder.target(self.out, row["job"], row["name"], images_expected(json.loads(row["parameters"])))


async def _save(image: GeneratedImage, target: Path, number: int) -> Path:
    return await image.save(_numbered(target, number)) if image.path is None else image.path


def _numbered(target: PathT, number: int) -> PathT:
    """Where the image of this number goes: `fox`, `fox-2`."""
    return target if number == 1 else target.with_name(f"{target.name}-{number}")


def _there(paths: list[str]) -> list[str]:
    """Those of the files that are still there."""
    return [path for path in paths if Path(path).is_file()]


def _move(source: Path, target: Path) -> Path:
    """Bring an image from the temporary folder, where it was kept while the output folder could not be written."""
    path = target.with_name(target.name + source.suffix)
    try:
        write_whole(path, source.read_bytes())
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}; the image stays in {source}"
        raise errors.BatchError(message) from error
    with suppress(OSError):
        source.unlink()
        source.parent.rmdir()
    return path
