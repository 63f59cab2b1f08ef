"""An application that makes book covers. It reads its key and the API's address from the environment."""

from pathlib import Path

from aimlapi_images import ContentPolicyError, ImageClient, OutcomeUnknownError


async def make_covers(titles: list[str], folder: Path) -> dict[str, str]:
    """Make a cover for each title. Returns what became of each: `made`, `refused` or `ask support`."""
    outcomes = {}
    async with ImageClient() as client:
        for title in titles:
            try:
                await client.generate(f"A book cover: {title}", to=folder / title.lower())
                outcomes[title] = "made"
            except ContentPolicyError:
                outcomes[title] = "refused"
            except OutcomeUnknownError:
                outcomes[title] = "ask support"  # it may be billed: do not order it again
    return outcomes
