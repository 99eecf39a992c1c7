"""Defaults of options: from the environment, else from the user's configuration file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
import click

from ....errors import ConfigurationError

FILE_VARIABLE: Final = "NANOGPT_CONFIG"


@attrs.frozen(kw_only=True)
class Setting:
    """
    A default that a user can set.

    Attributes:
        option: The option that it stands for.
        verbs: Verbs whose option it is; the same option of another verb means something else.
        kinds: Types that its value has in the file.
        otherwise: What holds where it is not set.
    """

    option: str
    verbs: frozenset[str]
    kinds: tuple[type, ...] = (str,)
    otherwise: str


SETTINGS: Final[Mapping[str, Setting]] = {
    "model": Setting(
        option="--model", verbs=frozenset({"generate", "plan", "batch"}), otherwise="none: -m is required"
    ),
    "requests_per_second": Setting(
        option="--requests-per-second",
        verbs=frozenset({"plan", "batch", "retry"}),
        kinds=(int, float),
        otherwise="25",
    ),
    "out": Setting(
        option="--out",
        verbs=frozenset({"generate", "edit", "regenerate", "batch"}),
        otherwise="the current directory; batch requires -o",
    ),
}


def variable_of(name: str) -> str:
    """Return the environment variable of the setting *name*."""
    return f"NANOGPT_{name.upper()}"


def config_path() -> Path:
    """Return the path of the configuration file, whether there is one or not."""
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else Path(click.get_app_dir("nanogpt-images")) / "config.toml"


def settings() -> Mapping[str, tuple[object, str]]:
    """
    Return the value of each setting that is set, and where it comes from: a variable, or the path of the file.

    Raises:
        ConfigurationError: The file cannot be read, or contains something else than these settings.
    """
    path = config_path()
    found: dict[str, tuple[object, str]] = {
        name: (value, str(path)) for name, value in _from_file(path).items()
    }
    for name in SETTINGS:
        if value := os.environ.get(variable_of(name)):
            found[name] = (value, variable_of(name))
    return found


def _from_file(path: Path) -> Mapping[str, object]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if os.environ.get(FILE_VARIABLE):
            raise ConfigurationError(f"there is no file {path}, which {FILE_VARIABLE} names.") from None
        return {}
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}.") from None
    for name, value in values.items():
        if name == "api_key":
            raise ConfigurationError(
                f"{path} contains an API key; set NANOGPT_API_KEY in the environment instead."
            )
        if name not in SETTINGS:
            raise ConfigurationError(
                f"{path}: {name!r} is not a setting; the settings are {', '.join(SETTINGS)}."
            )
        if not isinstance(value, SETTINGS[name].kinds) or isinstance(value, bool):
            expected = "a text" if SETTINGS[name].kinds == (str,) else "a number"
            raise ConfigurationError(f"{path}: {name} must be {expected}, not {value!r}.")
    return values


def defaults_of(command: click.Command) -> dict[str, object]:
    """
    Return the defaults of *command*'s options by the names of their parameters.

    Raises:
        ConfigurationError: As for `settings`.
    """
    defaults: dict[str, object] = {}
    for name, (value, _) in settings().items():
        setting = SETTINGS[name]
        for option in command.params if command.name in setting.verbs else ():
            if isinstance(option, click.Option) and option.name and setting.option in option.opts:
                defaults[option.name] = [value] if option.multiple else value
    return defaults
