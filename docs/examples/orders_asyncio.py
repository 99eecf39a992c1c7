"""
A worker without a framework: orders from a directory of JSON files, each removed once its image is there.

    NANOGPT_API_KEY=… python orders_asyncio.py orders/ images/

It may be killed at any moment and started again, also several times at once.

Why it is as it is: docs/paid-once.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from pathlib import Path

import nanogpt_images as ngi

log = logging.getLogger("orders")
MODEL = os.environ.get("IMAGE_MODEL", "gpt-image-2")


async def fill(client: ngi.AsyncClient, order: Path, images: Path) -> None:
    """Fill one order, and take it from the queue only then."""
    try:
        prompt = json.loads(await asyncio.to_thread(order.read_text))["prompt"]
    except FileNotFoundError:
        return  # another worker has filled it
    try:
        await client.images.generate_to(images, prompt, model=MODEL, name=order.stem, key=order.stem)
    except ngi.OutcomeUnknownError as error:
        # It may have been charged: kept aside for `nanogpt-images settle`, and never sent again by itself.
        log.error("%s: %s", order.stem, error)
        return
    await asyncio.to_thread(order.unlink, missing_ok=True)


async def main(orders: Path, images: Path) -> None:
    """Fill every order in the directory."""
    async with ngi.AsyncClient(ledger=os.environ.get("LEDGER", "paid.db")) as client:
        found = await asyncio.to_thread(lambda: sorted(orders.glob("*.json")))
        await asyncio.gather(*(fill(client, order, images) for order in found))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
