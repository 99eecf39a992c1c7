"""
A Celery task whose message may be delivered again: the order's number is the key.

    pip install nanogpt_images 'celery[redis]'
    NANOGPT_API_KEY=… celery -A orders_celery worker --concurrency 4

`acks_late` and `task_reject_on_worker_lost` let the broker deliver a message again whose worker was lost. Without a key that
would pay again; with one, the next worker gets the image from the ledger, or learns that the outcome is not known.

Why it is as it is: docs/paid-once.md.
"""

from __future__ import annotations

import os

from celery import Celery

import nanogpt_images as ngi

MODEL = os.environ.get("IMAGE_MODEL", "gpt-image-2")

app = Celery("orders", broker=os.environ.get("BROKER", "redis://127.0.0.1:6379/0"))
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # Redis delivers again what was not acknowledged in that time: longer than any generation, or two workers draw at
    # once. With a key that costs nothing either: the second waits for the first.
    broker_transport_options={"visibility_timeout": float(os.environ.get("VISIBILITY_S", "3600"))},
)


@app.task(
    autoretry_for=(ngi.RateLimitError, ngi.ServerError, ngi.ConnectError), retry_backoff=True, max_retries=5
)
def draw(order: int, prompt: str) -> str:
    """Draw *prompt* for *order* into `images/`, once."""
    with ngi.Client(ledger=os.environ.get("LEDGER", "paid.db")) as client:
        result = client.images.generate_to(
            os.environ.get("IMAGE_DIR", "images"),
            prompt,
            model=MODEL,
            name=f"order-{order}",
            key=f"order-{order}",
        )
    return str(result.images[0].path)
