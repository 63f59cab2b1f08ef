"""What the package does, shown with the emulator: `make demo`."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from PIL import Image

from aimlapi_images import GeneratedImage, ImageClient, ImageError, RetryPolicy, emulator, mask_from_box
from aimlapi_images.emulator import FAULTS, RunningEmulator
from demo_batch import show_batch, show_display

FOLDER = Path("demo-images")
TREX = "A T-Rex relaxing on a beach, lying on a sun lounger and wearing sunglasses."
BATCH = (
    "A lighthouse at dawn, mist over the sea",
    "A market street in the rain, paper lanterns",
    "An orchard in late autumn",
    "A night train crossing a viaduct",
)
HARBOUR = "A quiet harbour"
BOX = (860, 420, 480, 420)  # left, top, width, height
# One fault of each meaning.
SHOWN_FAULTS = ("content_policy", "rate_limited", "server_error", "dropped_after", "expired_url", "late_url")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    os.environ["NO_PROXY"] = "127.0.0.1"  # the emulator is on this machine, so no proxy is used
    with emulator.serve(emulator.create_app(latency=1)) as running:
        print(f"The emulator runs at {running.base_url}, and takes 1 s per image (the API takes about 26 s).\n")
        asyncio.run(make_images(running.base_url))
        asyncio.run(make_faults(running))
        show_batch(running, FOLDER / "batch")
        show_display(running, FOLDER / "batch")
    print(
        f"\nThe images are in {FOLDER.resolve()}.\n"
        "The emulator drew them, free of charge. To make one with the real API:\n\n"
        "  export AIMLAPI_API_KEY=...        # from your account at aimlapi.com\n"
        f'  .venv/bin/aimlapi-images generate "{TREX}" --size 1536x1024 -o trex'
    )


async def make_images(base_url: str) -> None:
    async with ImageClient(api_key="emulator", base_url=base_url) as client:
        print("The example of the API's documentation:")
        await show(await client.generate(TREX, size="1536x1024"), FOLDER / "trex")

        print(f"\n{len(BATCH)} images at once, with asyncio.gather():")
        images = await asyncio.gather(*(client.generate(prompt, output_format="jpeg") for prompt in BATCH))
        for number, image in enumerate(images, start=1):
            await show(image, FOLDER / f"batch-{number}")

        print("\nAn image with a transparent background:")
        await show(await client.generate("A paper boat", background="transparent"), FOLDER / "transparent")

        print("\nAn image edited inside a mask, and one edited as a whole:")
        before = await client.generate(HARBOUR, size="1536x1024")
        mask = mask_from_box(before, BOX)
        after = await client.edit("a red boat", image=before, mask=mask)
        await show(before, FOLDER / "edit-before")
        mask.save(FOLDER / "edit-mask.png")
        await show(after, FOLDER / "edit-after")
        await show(await client.edit("make it night", image=before), FOLDER / "edit-night")
        beside(before.to_pil(), mask, after.to_pil()).save(FOLDER / "edit.jpg", quality=85)


async def make_faults(running: RunningEmulator) -> None:
    logging.getLogger("aimlapi_images").setLevel(logging.ERROR)  # its warnings would interrupt the table
    print("\nWhat goes wrong, and what the client makes of it:\n")
    print(f"  {'fault':16}{'meaning':11}{'the client':48}{'sent':>5}{'billed':>8}")
    retry = RetryPolicy(first_wait=0.1)
    for kind in SHOWN_FAULTS:
        running.reset(latency=0, retry_after=0.1)
        running.fail(kind)
        async with ImageClient(api_key="emulator", base_url=running.base_url, retry=retry) as client:
            try:
                image = await client.generate("A paper boat")
                made = f"returns the image, attempt {image.attempts}"
            except ImageError as error:
                made = f"raises {type(error).__name__}, may_be_billed={error.may_be_billed}"
        sent, billed = running.stats.received, running.billed
        print(f"  {kind:16}{FAULTS[kind].meaning.value:11}{made:48}{sent:>5}{billed:>8}")


def beside(*pictures: Image.Image) -> Image.Image:
    """Put reduced pictures side by side, with a checkerboard behind transparent areas: docs/edit.jpg of the README."""
    width, height, gap, square = 480, 320, 12, 16
    strip = Image.new("RGB", (len(pictures) * (width + gap) - gap, height), "white")
    board = Image.new("L", (width // square, height // square))
    board.putdata([200 + 40 * ((x + y) % 2) for y in range(board.height) for x in range(board.width)])
    for number, picture in enumerate(pictures):
        tile = board.resize((width, height), Image.Resampling.NEAREST).convert("RGBA")
        tile.alpha_composite(picture.convert("RGBA").resize((width, height)))
        strip.paste(tile.convert("RGB"), (number * (width + gap), 0))
    return strip


async def show(image: GeneratedImage, path: Path) -> None:
    written = await image.save(path, overwrite=True)
    size = f"{image.width}x{image.height}"
    print(f"  {written}  {size}  {len(image.data):,} bytes  {image.seconds:.1f} s  {image.prompt}")


main()
