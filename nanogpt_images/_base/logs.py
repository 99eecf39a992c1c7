"""The package's loggers: silent until the application configures logging."""

from __future__ import annotations

import logging

# Without a handler of its own, Python prints warnings of a library to stderr.
logging.getLogger("nanogpt_images").addHandler(logging.NullHandler())


def get_logger(name: str = "nanogpt_images") -> logging.Logger:
    """Return the logger *name*, which is `nanogpt_images` or below it."""
    return logging.getLogger(name)
