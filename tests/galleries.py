"""Folders of batches, made without a client: thousands of jobs in a moment."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from PIL import Image

from aimlapi_images.batch.models import Status
from aimlapi_images.batch.store.folder import STATE, StoredImage, describe
from aimlapi_images.batch.store.state import State
from aimlapi_images.errors import ContentPolicyError, ImageError
from aimlapi_images.models import Usage

REFUSAL = ContentPolicyError("HTTP 400: Your request was rejected by the safety system.", status=400)


@attrs.frozen(kw_only=True)
class Made:
    """A job as it is in the state.

    Attributes:
        data: Its images; none means that it failed with `error`, which may be `None` for one that waits.
    """

    id: str
    prompt: str = "A fox"
    parameters: Mapping[str, Any] = attrs.field(factory=dict)
    carried: Mapping[str, Any] = attrs.field(factory=dict)
    data: tuple[bytes, ...] = ()
    error: ImageError | None = None
    usd: float | None = None
    seconds: float = 1.0


def picture(color: str = "teal", kind: str = "png", size: tuple[int, int] = (60, 40)) -> bytes:
    """The bytes of an image of one color."""
    written = io.BytesIO()
    Image.new("RGB", size, color).save(written, kind)
    return written.getvalue()


def store(out: Path, jobs: Iterable[Made]) -> Path:
    """Write a batch's folder. Images with the same bytes are described once, and have the same time."""
    out = out.absolute()
    out.mkdir(exist_ok=True)
    state = State(out / STATE)
    described: dict[bytes, StoredImage] = {}

    def add() -> None:
        run = state.begin_run()
        for number, made in enumerate(jobs, 1):
            parameters = {"model": "openai/gpt-image-1-5", **made.parameters, "prompt": made.prompt}
            state.add_job(made.id, f"name-{number}", number, json.dumps(parameters), json.dumps(made.carried), run)
            request = f"order-{number}.01234567.1"
            if made.data or made.error:
                state.attempt_starts(number, request)
            if made.error:
                state.attempt_ends(number, request, "failed", made.error, Status.REFUSED)
            elif made.data:
                state.attempt_generated(number, request, [], Usage(None, made.usd), "inference-1")
                state.saved(out, number, list(_files(out, made, f"name-{number}", described)))
        state.end_run(run, None)

    state.transaction(add)
    state.close()
    return out


def _files(out: Path, made: Made, name: str, described: dict[bytes, StoredImage]) -> Iterable[StoredImage]:
    for number, data in enumerate(made.data, 1):
        if (known := described.get(data)) is None:
            path = out / f"{name}-{number} #1%?.png"  # characters that mean something in a URL
            path.write_bytes(data)
            known = described[data] = describe(out, path)
        yield attrs.evolve(known, number=number, seconds=made.seconds)
