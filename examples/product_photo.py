"""Another background for a product photo: `python product_photo.py photo.jpg LEFT,TOP,WIDTH,HEIGHT "on a table"`.

The box holds the product and stays as it is. Everything else is repainted.
"""

import asyncio
import sys
from pathlib import Path

from aimlapi_images import ImageClient, mask_from_box, mask_from_luminance


async def repaint(photo: Path, box: tuple[int, int, int, int], place: str) -> Path | None:
    """Repaint what is outside the box, and write the result beside the photo."""
    kept = mask_from_box(photo, box).getchannel("A")  # black in the box, white outside
    async with ImageClient() as client:
        image = await client.edit(
            f"The product {place}, product photo, soft light",
            image=photo,
            mask=mask_from_luminance(kept),
            to=photo.with_name(f"{photo.stem}-new"),
        )
    return image.path


if __name__ == "__main__":
    left, top, width, height = (int(number) for number in sys.argv[2].split(","))
    print(asyncio.run(repaint(Path(sys.argv[1]), (left, top, width, height), sys.argv[3])))
