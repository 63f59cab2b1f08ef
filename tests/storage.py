"""An S3 endpoint on a local port, by moto."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def s3_server() -> Iterator[str]:
    """Run the server, and lead boto to it. Yields the name of a bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        environment.setenv("NO_PROXY", os.environ.get("NO_PROXY", "127.0.0.1"))
        files().makedirs("pictures", exist_ok=True)
        try:
            yield "pictures"
        finally:
            server.stop()
            fsspec.get_filesystem_class("s3").clear_instance_cache()


def files() -> fsspec.AbstractFileSystem:
    """The storage, as it is now."""
    storage = fsspec.filesystem("s3")
    storage.invalidate_cache()
    return storage
