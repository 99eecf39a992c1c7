"""`config`: the defaults in effect, and where each comes from."""

from __future__ import annotations

import os
from typing import Final

from ....transport.options import BASE_URL_VARIABLE, KEY_VARIABLE
from ... import common as _common
from ...output import one_line, say, say_fields, say_json, say_table
from .defaults import SETTINGS, config_path, settings, variable_of

_DEFAULT: Final = "default"


@_common.verb("config", example="config")
def command(base_url: str | None, as_json: bool) -> int:
    """
    Show the defaults in effect, and where each comes from.

    An option goes before its variable, and a variable before the file. The file is TOML, for example:

    \b
      model = "gpt-image-2"
      requests_per_second = 10
      out = "images"

    API keys are read from NANOGPT_API_KEYS or NANOGPT_API_KEY alone.
    """
    rows = _rows(base_url)
    path = config_path()
    if as_json:
        document = {
            name: {"value": value, "from": origin, "variable": variable}
            for name, value, origin, variable in rows
        }
        say_json({"file": str(path), "exists": path.is_file(), "settings": document})
        return 0
    say_table(["SETTING", "VALUE", "FROM", "VARIABLE"], [[one_line(cell) for cell in row] for row in rows])
    say()
    say_fields({"file": f"{path}{'' if path.is_file() else ' (not there)'}"})
    return 0


def _rows(base_url: str | None) -> list[tuple[str, str, str, str]]:
    given = settings()
    rows: list[tuple[str, str, str, str]] = []
    for name, setting in SETTINGS.items():
        value, origin = given.get(name, (setting.otherwise, _DEFAULT))
        rows.append((name, str(value), origin, variable_of(name)))
    address = os.environ.get(BASE_URL_VARIABLE)
    origin = "--base-url" if base_url else BASE_URL_VARIABLE if address else _DEFAULT
    rows.append(("base_url", base_url or address or "https://nano-gpt.com", origin, BASE_URL_VARIABLE))
    is_set = bool(os.environ.get(KEY_VARIABLE))
    rows.append(
        ("api_key", "set" if is_set else "not set", KEY_VARIABLE if is_set else _DEFAULT, KEY_VARIABLE)
    )
    return rows
