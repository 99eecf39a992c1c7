"""
A FastAPI application whose clients send an `Idempotency-Key`: a double click, or a retry of a proxy, pays once.

    pip install nanogpt_images fastapi uvicorn
    NANOGPT_API_KEY=… uvicorn orders_fastapi:app

Why it is as it is: docs/paid-once.md.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import Response

import nanogpt_images as ngi

MODEL = os.environ.get("IMAGE_MODEL", "gpt-image-2")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client, and one ledger that all workers of this machine share."""
    async with ngi.AsyncClient(ledger=os.environ.get("LEDGER", "paid.db")) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def order(request: Request, prompt: str, idempotency_key: Annotated[str, Header()]) -> Response:
    """Draw *prompt* once for this key, however often the request comes."""
    client: ngi.AsyncClient = request.app.state.client
    try:
        # The key is the caller's own: another caller's must not reach it. Put the user's ID in front of it.
        result = await client.images.generate(prompt, model=MODEL, key=f"web:{idempotency_key}")
    except ngi.ParameterError as error:
        # 422: the key was used for another prompt, or cannot be one.
        raise HTTPException(422, str(error)) from error
    except ngi.NanoGPTError as error:
        if error.charge is ngi.Charge.UNKNOWN:
            # 409: it may have been charged. A person, or `nanogpt-images settle`, decides; a retry would not.
            raise HTTPException(409, "the outcome of this order is being looked into") from error
        # 502: it was not, or it was and brought nothing; the same request again tries again, or says so again.
        raise HTTPException(502, "no image for now") from error
    image = result.images[0]
    return Response(await image.read(), media_type=image.media_type)
