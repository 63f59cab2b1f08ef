"""Keyword arguments of `ImageClient`'s methods as typed dictionaries, for `**config` and `Unpack`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from aimlapi_images.orders.image_input import ImageInput
from aimlapi_rest.fields import Background, Moderation, OutputFormat, Quality, ResponseFormat, Size
from aimlapi_rest.models import GetLogsLogStatus


class _Options(TypedDict, total=False):
    model: str
    size: Size | str | None
    quality: Quality | str | None
    background: Background | str | None
    output_format: OutputFormat | str | None
    output_compression: int | None
    response_format: ResponseFormat | str | None
    options: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None
    to: str | os.PathLike[str] | None
    overwrite: bool
    deadline: float | None
    order: str | None


class GenerateOptions(_Options, total=False):
    """Keyword arguments of `ImageClient.generate`, whose documentation describes them."""

    moderation: Moderation | str | None


class EditOptions(_Options, total=False):
    """Keyword arguments of `ImageClient.edit` except `image`."""

    mask: ImageInput | None


class LogQuery(TypedDict, total=False):
    """Keyword arguments of `ImageClient.log_pages`, which are those of `logs` without `offset`."""

    period: str | None
    start: datetime | None
    end: datetime | None
    status: GetLogsLogStatus | Sequence[GetLogsLogStatus] | None
    model: str | None
    limit: int | None
