"""Draw one prompt with the three cheapest models at the same time, into one directory."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["nanogpt_images"]
# ///

import asyncio
import sys

import nanogpt_images as ngi

RESOLUTION = "1024x1024"


async def main(prompt: str) -> None:
    async with ngi.AsyncClient() as client:
        offers = [
            (bounds[1], model.id)
            for model in await client.catalog.list()
            if RESOLUTION in model.resolutions and (bounds := model.price_bounds(RESOLUTION))
        ]
        rows = [
            ngi.BatchRow(prompt, model_id, key=model_id, resolution=RESOLUTION)
            for _, model_id in sorted(offers)[:3]
        ]
        report = await client.run_batch(rows, out="compared", budget_usd=1)
    print(report)
    print("Look at them: nanogpt-images gallery compared")


asyncio.run(main(" ".join(sys.argv[1:]) or "a lighthouse in a storm, oil on canvas"))
