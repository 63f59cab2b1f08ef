"""Records the events of one order in the state."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from aimlapi_images.batch.models import Status
from aimlapi_images.batch.store.database import Journal
from aimlapi_images.batch.store.state import State
from aimlapi_images.events import AttemptStarted, Event, Generated, Observer, Retrying


@attrs.define
class Record:
    """An observer of one order. The order goes on when its events are durable.

    Attributes:
        state: The state; used in the journal's thread only.
        journal: Writes to it.
        observer: Told of the events afterwards.
        job: The job's number.
        fetches: Whether the image is only fetched, as it is paid for.
        open: The request id of the attempt that has not ended, if there is one.
        generated: Whether the API has answered with an image.
        urls: Where its images can be fetched.
    """

    state: State
    journal: Journal
    observer: Observer
    job: int
    fetches: bool
    open: str | None = None
    generated: bool = False
    urls: Sequence[str] = ()

    async def __call__(self, event: Event) -> None:
        state, write = self.state, self.journal.write
        match event:
            case AttemptStarted():
                self.open = event.request_id
                await write(state.attempt_starts, self.job, event.request_id)
            case Retrying() if self.open is not None:
                unknown = event.error.may_be_billed
                ended = ("unknown", event.error, Status.UNKNOWN) if unknown else ("failed", event.error, Status.PENDING)
                write(state.attempt_ends, self.job, self.open, *ended)
                self.open = None
            case Generated():
                self.generated, self.urls = True, event.urls
                request_id, self.open = self.open or "", None
                known = (request_id, event.urls, event.usage, event.inference_id)
                await write(state.attempt_generated, self.job, *known)
        await self.observer(event)
