"""A stand-in for the service on loopback: real sockets, real images, no key, no charge."""

from .catalog.definitions import SandboxModel
from .catalog.registry import built_in_models, catalog_of, load_models
from .faults.rule_file import load_faults
from .faults.rules import Fault
from .http.urls import Visit
from .ledger import Entry, Ledger
from .server import Sandbox
from .settings import SandboxOptions
from .threaded import BlockingSandbox

__all__ = [
    "BlockingSandbox",
    "Entry",
    "Fault",
    "Ledger",
    "Sandbox",
    "SandboxModel",
    "SandboxOptions",
    "Visit",
    "built_in_models",
    "catalog_of",
    "load_faults",
    "load_models",
]
