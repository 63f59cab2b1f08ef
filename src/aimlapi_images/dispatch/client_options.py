"""The arguments of `ImageClient`, checked."""

from __future__ import annotations

import attrs
import httpx

from aimlapi_images.config import async_function, instance_of, not_negative, positive, rule, whole_number
from aimlapi_images.dispatch.budget import Budget
from aimlapi_images.dispatch.retry import RetryPolicy
from aimlapi_images.events import Observer

_transport = instance_of(httpx.AsyncBaseTransport)


@attrs.frozen(kw_only=True)
class ClientOptions:
    """The client's arguments that are checked by value."""

    max_concurrency: int = attrs.field(validator=rule(whole_number))
    requests_per_minute: float | None = attrs.field(validator=rule(positive, optional=True))
    keepalive: float = attrs.field(validator=rule(not_negative))
    deadline: float | None = attrs.field(validator=rule(positive, optional=True))
    retry: RetryPolicy = attrs.field(validator=rule(instance_of(RetryPolicy)))
    budget: Budget | None = attrs.field(validator=rule(instance_of(Budget), optional=True))
    observer: Observer | None = attrs.field(validator=rule(async_function, optional=True))
    transport: httpx.AsyncBaseTransport | None = attrs.field(validator=rule(_transport, optional=True))
    download_transport: httpx.AsyncBaseTransport | None = attrs.field(validator=rule(_transport, optional=True))
