"""Draw one image; say what it may cost before, and what it did cost after."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["nanogpt_images"]
# ///

import sys

import nanogpt_images as ngi

prompt = " ".join(sys.argv[1:]) or "a red fox in the snow"

with ngi.Client() as client:
    model = client.catalog.get("gpt-image-2")
    bounds = model.price_bounds("1024x1024")
    print("price:", "not stated" if bounds is None else f"at most ${bounds[1]:.3f}")
    result = client.images.generate(prompt, model=model.id, resolution="1024x1024")
    path = result.images[0].save("one-image", overwrite=True)
    print(f"{path} cost ${result.cost_usd}")
