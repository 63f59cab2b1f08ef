"""What callers get back: images, costs, the account's balance and log."""

import asyncio
import base64
import hashlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from aimlapi_images.about import needs_extra
from aimlapi_images.media.files import check_target, write_whole
from aimlapi_images.media.json_values import shown

if TYPE_CHECKING:
    from PIL.Image import Image

CREDITS_PER_USD: Final = 2_000_000  # documented: 190450 credits = 0.095225 USD


@attrs.frozen
class Usage:
    """The cost of an order.

    Attributes:
        credits_used: In credits, or `None` if the API did not say.
        usd_spent: In US dollars, or `None` if the API gave neither dollars nor credits.
    """

    credits_used: int | None = None
    usd_spent: float | None = None

    @classmethod
    def from_costs(cls, credits_used: float | None, usd_spent: float | None) -> Self:
        """Build from the costs that the API stated. Missing dollars are computed from the credits."""
        if usd_spent is None and credits_used is not None:
            usd_spent = credits_used / CREDITS_PER_USD
        return cls(None if credits_used is None else round(credits_used), usd_spent)


@attrs.frozen
class Spending:
    """What a client's orders have cost so far, as far as the API said.

    Attributes:
        orders: Number of orders answered with an image or its URL; these are paid for.
        credits_used: Sum of the known costs in credits.
        usd_spent: Sum of the known costs in US dollars.
        unpriced: Number of these orders without a stated cost. The sums leave them out.
        unknown_outcomes: Number of further attempts that may have been billed.
    """

    orders: int = 0
    credits_used: int = 0
    usd_spent: float = 0.0
    unpriced: int = 0
    unknown_outcomes: int = 0

    def with_order(self, usage: Usage) -> Self:
        """Add an order that was answered."""
        return attrs.evolve(
            self,
            orders=self.orders + 1,
            credits_used=self.credits_used + (usage.credits_used or 0),
            usd_spent=round(self.usd_spent + (usage.usd_spent or 0.0), 9),  # no 0.30000000000000004
            unpriced=self.unpriced + (usage.usd_spent is None),
        )


@attrs.frozen
class GeneratedImage:
    """A generated image.

    Attributes:
        file_size: Size of the image file in bytes.
        format: `png`, `jpeg`, `webp` or `gif`, read from the bytes.
        media_type: The MIME type, such as `image/png`.
        width: In pixels, read from the bytes.
        height: In pixels, read from the bytes.
        path: The file it was written to, if `to` was given. The bytes are then not held in memory.
        url: The URL it was fetched from, which expires. `None` if it came in the answer itself.
        revised_prompt: The prompt as rewritten by the provider, if it said so.
        prompt: The prompt as sent.
        parameters: The other fields as sent.
        usage: The cost of the order.
        inference_id: The API's id of the request.
        order: The order's id.
        attempts: Number of times the request was sent.
        seconds: From the first attempt to the complete image, in seconds.
        others: Further images of the same answer, if `options` asked for several. They are written beside `path`,
            as `fox-2.png`. Their `usage` is unknown: the order's cost is on the first image.
    """

    file_size: int
    format: str
    media_type: str
    width: int
    height: int
    prompt: str = attrs.field(repr=shown)
    parameters: Mapping[str, Any]
    usage: Usage
    order: str
    attempts: int
    seconds: float
    path: Path | None = None
    url: str | None = None
    revised_prompt: str | None = attrs.field(default=None, repr=shown)
    inference_id: str | None = None
    others: "tuple[GeneratedImage, ...]" = ()
    _data: bytes | None = attrs.field(default=None, repr=False)

    @property
    def data(self) -> bytes:
        """The image file's bytes as the API sent them. Read from `path` on each access if it was written there.

        Raises:
            OSError: The file no longer exists.
        """
        if self._data is None and self.path is not None:
            return self.path.read_bytes()
        return self._data or b""

    @property
    def sha256(self) -> str:
        """SHA-256 digest of `data` in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    async def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the image to a file, byte for byte as the API sent it. The file appears whole or not at all.

        Args:
            path: The target. The extension follows the bytes: `trex` becomes `trex.png`, and a JPEG saved as
                `trex.png` becomes `trex.jpg`.
            overwrite: Replace an existing file.

        Returns:
            The path that was written.

        Raises:
            FileExistsError: The file exists and `overwrite` is false.
            OSError: The folder is missing or not writable, or the disk is full. No partial file is left.
        """
        return await asyncio.to_thread(self._save, Path(path), overwrite)

    def _save(self, path: Path, overwrite: bool) -> Path:
        target = check_target(path, self.format, overwrite=overwrite)
        write_whole(target, self.data, overwrite=overwrite)
        return target

    def to_pil(self) -> "Image":
        """Decode the image with Pillow, which the extra `images` installs."""
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(needs_extra("to_pil()", "images")) from error
        return Image.open(io.BytesIO(self.data))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Display the image in a notebook."""
        encoded = base64.b64encode(self.data).decode("ascii")
        if self.format in ("png", "jpeg"):
            return {self.media_type: encoded, "text/plain": repr(self)}
        # Notebooks have no MIME type for the other formats; the browser displays them.
        return {"text/html": f'<img src="data:{self.media_type};base64,{encoded}">', "text/plain": repr(self)}


@attrs.frozen
class Balance:
    """What is left on the account.

    Attributes:
        amount: In `currency`, or `None` if the API did not say.
        currency: Such as `USD`, or `None` if the API did not say.
    """

    amount: float | None
    currency: str | None


@attrs.frozen(kw_only=True)
class LogEntry:
    """One request in the provider's log. Fields that the log leaves out are `None`.

    Attributes:
        created: Time of the request, in the API's own notation.
        status: `succeeded` or `failed`. Failed requests are not billed.
        origin: Where the request came from.
        model: The model.
        usage: The cost.
        tokens: Token counts under `input`, `output` and `total`.
        request_id: The API's id of the HTTP request.
        inference_id: The answer's `x-inference-id`.
        client_request_id: The request's `X-Client-Request-Id`; `<order>.<nonce>.<attempt>` for orders of this package.
    """

    created: str | None = None
    status: str | None = None
    origin: str | None = None
    model: str | None = None
    usage: Usage = attrs.field(factory=Usage)
    tokens: Mapping[str, int] = attrs.field(factory=dict)
    request_id: str | None = None
    inference_id: str | None = None
    client_request_id: str | None = None

    @property
    def order(self) -> str | None:
        """The id of the order, if the request was an attempt of this package."""
        found = re.fullmatch(r"(.+)\.[0-9a-f]{8}\.[0-9]+", self.client_request_id or "")
        return found and found[1]


@attrs.frozen
class LogPage:
    """One page of the provider's log.

    Attributes:
        entries: The requests, in the API's order.
        total: Number of matching requests, or `None` if the API did not say.
        has_more: Whether there are further pages.
    """

    entries: tuple[LogEntry, ...]
    total: int | None
    has_more: bool
