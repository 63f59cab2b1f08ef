"""The published example and a small batch, on the emulator: `make demo`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from aimlapi_images import GeneratedImage, ImageClient, emulator

FOLDER = Path("demo-images")
TREX = "A T-Rex relaxing on a beach, lying on a sun lounger and wearing sunglasses."
BATCH = (
    "A lighthouse at dawn, mist over the sea",
    "A market street in the rain, paper lanterns",
    "An orchard in late autumn",
    "A night train crossing a viaduct",
)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    os.environ["NO_PROXY"] = "127.0.0.1"  # the emulator is here, whatever proxy leads out
    with emulator.serve(emulator.create_app(latency=1)) as running:
        print(f"The emulator runs at {running.base_url}, and takes 1 s for an image (the API: about 26 s).\n")
        asyncio.run(make_images(running.base_url))
    print(
        f"\nThe images are in {FOLDER.resolve()}.\n"
        "They are drawn by the emulator, free of charge. The same with the real API:\n\n"
        "  export AIMLAPI_API_KEY=...        # from your account at aimlapi.com\n"
        f'  .venv/bin/aimlapi-images generate "{TREX}" --size 1536x1024 -o trex'
    )


async def make_images(base_url: str) -> None:
    async with ImageClient(api_key="emulator", base_url=base_url) as client:
        print("One image, as in the documentation:")
        await show(await client.generate(TREX, size="1536x1024"), FOLDER / "trex")

        print(f"\n{len(BATCH)} images at once, with asyncio.gather:")
        images = await asyncio.gather(*(client.generate(prompt, output_format="jpeg") for prompt in BATCH))
        for number, image in enumerate(images, start=1):
            await show(image, FOLDER / f"batch-{number}")

        print("\nOne without a background:")
        await show(await client.generate("A paper boat", background="transparent"), FOLDER / "transparent")


async def show(image: GeneratedImage, path: Path) -> None:
    written = await image.save(path, overwrite=True)
    size = f"{image.width}x{image.height}"
    print(f"  {written}  {size}  {len(image.data):,} bytes  {image.seconds:.1f} s  {image.prompt}")


main()
