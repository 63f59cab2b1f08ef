"""A picture for each row of a CSV: `python products.py products.csv pictures`. Run it again to go on."""

import asyncio
import csv
import sys
from pathlib import Path
from typing import Any

from aimlapi_images import Budget, ImageClient
from aimlapi_images.batch import run_batch


def jobs(products: Path) -> list[dict[str, Any]]:
    """A job for each product. Its id names the file; `metadata` is repeated in the results."""
    with products.open(newline="", encoding="utf-8") as file:
        return [
            {
                "id": row["sku"],
                "prompt": f"Product photo of a {row['name']} made of {row['material']}, plain background, soft light",
                "quality": "low",
                "metadata": {"price": row["price"]},
            }
            for row in csv.DictReader(file)
        ]


async def main(products: Path, folder: Path) -> None:
    async with ImageClient(budget=Budget(usd=5)) as client:
        async for result in run_batch(client, jobs(products), out=folder):
            print(result.id, result.status, result.file or result.error_message)
        print(f"{client.spending.usd_spent:.2f} USD")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
