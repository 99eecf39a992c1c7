"""
What the catalogue costs: decoding and joining both listings against `json.loads` alone, one model of them, and a
warm `get()`.

    python benchmarks/catalog.py [--json] [--repeat N]

Half of the records of images/models have the documented shape of descriptors, half the live flat one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from nanogpt_images.resources.catalog import Catalog
from nanogpt_images.wire.catalog.join import Joined
from nanogpt_images.wire.catalog.listings import image_models, listed_models

TOKENS = ("1024x1024", "1376x768", "1184x896", "768x1344", "832x1216", "1k", "2k", "auto")
FIRST_USE = """
import time
from nanogpt_images.wire.catalog.listings import image_models
started = time.perf_counter()
image_models([{"id": "m"}])
print((time.perf_counter() - started) * 1e3)
"""


def documented(tokens: list[str], most: int) -> dict[str, object]:
    return {
        "resolution": {"type": "enum", "values": tokens, "default": tokens[0]},
        "quality": {"type": "enum", "values": ["low", "medium", "high"], "default": "medium"},
        "n": {"type": "range", "min": 1, "max": most, "default": 1},
        "input_references": {"type": "range", "min": 0, "max": 4},
    }


def live(tokens: list[str], most: int) -> dict[str, object]:
    return {
        "resolutions": tokens,
        "aspect_ratio": ["1:1", "16:9", "9:16"],
        "max_images": most,
        "max_output_images": most,
        "max_input_images": 3,
        "input_image_constraints": {
            "max_items": 3,
            "route": {"min_width": 8, "max_bytes": 31457280, "formats": ["png", "jpeg", "webp"]},
            "provider": {"max_bytes": 10485760},
        },
        "max_prompt_characters": 3000,
        "prompt_length": {"unit": "utf16_code_units", "trim_whitespace": True},
    }


def listings(models: int) -> tuple[str, str]:
    """Both listings as JSON text."""
    chance = random.Random(1)
    old: list[object] = []
    new: list[object] = []
    for number in range(models):
        tokens = chance.sample(TOKENS, chance.randint(1, len(TOKENS)))
        most = chance.choice((1, 4, 10))
        common = {
            "id": f"owner-{number % 30}/model-{number}/text-to-image",
            "created": 1778544000 + number,
            "owned_by": f"owner-{number % 30}",
            "name": f"Model {number}",
            "description": "Fast generation for low-cost drafts, social visuals, and rapid creative iteration.",
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
            "capabilities": {"image_generation": True, "image_to_image": True, "inpainting": False},
            "category": "image",
        }
        old.append(
            {
                **common,
                "object": "model",
                "pricing": {"per_image": dict.fromkeys(tokens, 0.005), "currency": "USD"},
                "supported_parameters": {"resolutions": tokens, "max_images": most},
                "icon_url": "/icons/owner.svg",
                "tags": ["text-to-image", "owner"],
            }
        )
        shape = documented if number % 2 else live
        new.append(
            {
                **common,
                "supported_parameters": shape(tokens, most),
                "supports_streaming": False,
                "endpoints": f"/api/v1/images/models/{common['id']}/endpoints",
            }
        )
    meta = {"count": models, "generated_at": "2026-06-25T00:00:00.000Z"}
    old_text, new_text = (json.dumps({"object": "list", "data": data, "meta": meta}) for data in (old, new))
    return old_text, new_text


def median_ms(repeat: int, work: Callable[[], object]) -> float:
    work()
    # Processor time: what a call takes of a busy machine is not what is asked.
    times: list[float] = []
    for _ in range(repeat):
        gc.collect()
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times) * 1e3


async def warm_get_us(old: str, new: str, model_id: str) -> float:
    """Microseconds of one `get` of a catalogue that is fresh."""
    bodies = {"/api/v1/image-models": old, "/api/v1/images/models": new}

    async def fetch(path: str, *, params: Mapping[str, str] | None = None) -> object:
        del params
        return json.loads(bodies[path])

    catalog = Catalog(fetch)
    await catalog.get(model_id)
    calls = 10_000
    started = time.perf_counter()
    for _ in range(calls):
        await catalog.get(model_id)
    return (time.perf_counter() - started) / calls * 1e6


def measure(models: int, repeat: int) -> dict[str, float]:
    old, new = listings(models)
    old_body, new_body = json.loads(old), json.loads(new)
    last = new_body["data"][-1]["id"]
    return {
        "models": models,
        "kilobytes": (len(old) + len(new)) / 1e3,
        "json_ms": median_ms(repeat, lambda: (json.loads(old), json.loads(new))),
        "image_models_ms": median_ms(repeat, lambda: image_models(old_body).listing()),
        "images_models_ms": median_ms(repeat, lambda: listed_models(new_body).listing()),
        "decode_and_join_ms": median_ms(
            repeat, lambda: Joined(image_models(old_body), listed_models(new_body)).join_all()
        ),
        "one_of_cold_ms": median_ms(
            repeat, lambda: Joined(image_models(old_body), listed_models(new_body)).find(last)
        ),
        "warm_get_us": asyncio.run(warm_get_us(old, new, last)),
    }


def first_use_ms() -> float:
    """The first record of a process, which loads cattrs and generates the code that reads records."""
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, check=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repeat", type=int, default=15, help="runs of which the median is taken")
    options = parser.parse_args()
    rows = [measure(240, options.repeat), measure(10_000, max(3, options.repeat // 5))]
    first = first_use_ms()
    if options.json:
        document = {"python": platform.python_version(), "first_use_ms": first, "rows": rows}
        print(json.dumps(document, indent=2))
        return
    print("  ".join(f"{name:>18}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{value:>18,.2f}" for value in row.values()))
    print(f"first record of a process: {first:.1f} ms")


if __name__ == "__main__":
    main()
