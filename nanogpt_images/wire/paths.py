"""Paths of the free GET requests."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from ..errors import ParameterError

IMAGE_MODELS = "/api/v1/image-models"
LISTED_MODELS = "/api/v1/images/models"


def endpoints_path(model_id: str, returned: str | None) -> str:
    """
    Return where the endpoint metadata of a model is.

    Args:
        model_id: ID; slashes stay as they are, as in the paths that the service returns.
        returned: `endpoints` of the model in images/models. It is followed where it is a plain path; an
            absolute URL could lead the key to another origin, so the path is made of the ID instead.

    Raises:
        ParameterError: *model_id* would name another path.

    Source: docs/service.md, "Endpoint metadata"; "List models of the Image API", `endpoints`.
    """
    if not model_id or not {".", ".."}.isdisjoint(model_id.split("/")) or not _is_encodable(model_id):
        raise ParameterError(f"{model_id!r} is not the ID of a model.", model=model_id, parameter="model")
    if returned is not None and _is_plain_path(returned):
        return returned
    return f"{LISTED_MODELS}/{quote(model_id, safe='/:@')}/endpoints"


def _is_plain_path(text: str) -> bool:
    rooted = text.startswith("/") and not text.startswith("//")
    # Dots that are escaped are dots to aiohttp's parser.
    decoded = unquote(text)
    return rooted and "\\" not in decoded and decoded.isprintable() and ".." not in re.split("[/?#]", decoded)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
