"""The version, once: read by the build, the User-Agent and `--version`."""

__version__ = "0.2.0"
