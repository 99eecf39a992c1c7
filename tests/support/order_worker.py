"""A worker of a shop: it draws its orders in a random order, each as often as it was delivered, and is killed at random."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

import nanogpt_images as ngi


async def main(url: str, key: str, folder: Path, orders: int, seed: int) -> None:
    """Fill orders until all are answered; note each answer in one line."""
    chance = random.Random(seed)
    mine = list(range(orders))
    chance.shuffle(mine)
    answers = (folder / f"answers-{seed}.jsonl").open("a")
    async with ngi.AsyncClient(
        key,
        url,
        ledger=folder / "paid.db",
        requests_per_second=None,
        retry=ngi.RetryPolicy(initial_delay_s=0),
    ) as client:

        async def fill(order: int) -> None:
            try:
                result = await client.images.generate(
                    f"order {order}", model="tiny-and-fast", key=f"order-{order}"
                )
                told = result.images[0].sha256
            except ngi.OutcomeUnknownError:
                told = "unknown"
            except ngi.NanoGPTError as error:
                told = type(error).__name__
            answers.write(json.dumps([order, told]) + "\n")
            answers.flush()

        places = asyncio.Semaphore(8)

        async def one(order: int) -> None:
            async with places:
                await fill(order)

        await asyncio.gather(*map(one, mine))


if __name__ == "__main__":
    _, url, key, folder, orders, seed = sys.argv
    asyncio.run(main(url, key, Path(folder), int(orders), int(seed)))
