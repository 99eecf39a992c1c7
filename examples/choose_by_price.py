"""List the models that offer a resolution, cheapest first."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["nanogpt_images"]
# ///

import sys

import nanogpt_images as ngi

resolution = sys.argv[1] if len(sys.argv) > 1 else "1024x1024"

with ngi.Client() as client:
    offers = [
        (bounds[1], model.id)
        for model in client.catalog.list()
        if resolution in model.resolutions and (bounds := model.price_bounds(resolution))
    ]
for price, model_id in sorted(offers):
    print(f"${price:.4f}  {model_id}")
