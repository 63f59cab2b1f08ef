"""A web service that answers with an image: `uvicorn fastapi_app:app`, then open /image?prompt=A+fox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response

from aimlapi_images import (
    ContentPolicyError,
    DeadlineExceededError,
    ImageClient,
    ImageError,
    InvalidRequestError,
    RateLimitError,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for all requests: they share its queue, connections and rate limit."""
    async with ImageClient(max_concurrency=8, deadline=90) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/image")
async def image(request: Request, prompt: Annotated[str, Query(max_length=1000)], size: str = "1024x1024") -> Response:
    client: ImageClient = request.app.state.client
    try:
        made = await client.generate(prompt, size=size)
    except InvalidRequestError as error:
        raise HTTPException(422, str(error)) from error
    except ContentPolicyError as error:
        raise HTTPException(400, "the prompt was refused") from error
    except RateLimitError as error:
        raise HTTPException(429, "too many images, try again later") from error
    except DeadlineExceededError as error:
        raise HTTPException(504, "the image took too long") from error
    except ImageError as error:
        raise HTTPException(502, f"no image: {type(error).__name__}") from error
    return Response(made.data, media_type=made.media_type, headers={"X-Order": made.order})
