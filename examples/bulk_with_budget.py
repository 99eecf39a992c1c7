"""
Draw many prompts under a budget, show the progress, group what failed.

Run it again: what is done is not paid for twice. Press Ctrl-C and run it again: it goes on where it stopped.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["nanogpt_images"]
# ///

import asyncio

import nanogpt_images as ngi

ANIMALS = ("fox", "hare", "owl", "badger", "otter", "lynx")
SCENES = ("in the snow", "at dusk", "under a full moon")
ROWS = [
    ngi.BatchRow(f"a {animal} {scene}", "gpt-image-2", key=f"{animal}-{number}", resolution="1024x1024")
    for animal in ANIMALS
    for number, scene in enumerate(SCENES)
]


async def main() -> None:
    async with ngi.AsyncClient() as client:
        plan = ngi.estimate(ROWS, await client.catalog.list())
        print(f"{plan.images} images, at most ${plan.cost_usd:.2f}")
        async with client.batch(ROWS, out="animals", budget_usd=5) as run:
            async for event in run:
                print(f"{event.key:10} {event.state.value:8} ${event.cost_usd or 0:.3f}")
    for failure in run.report.failures:
        print(
            f"{failure.count} x {failure.error} {failure.code or ''}, for example {failure.key}: {failure.text}"
        )
    print(run.report)


asyncio.run(main())
