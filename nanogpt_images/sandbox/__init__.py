"""A stand-in for the service on loopback: real sockets, real images, no key, no charge."""

from .catalog import built_in_models, catalog_of, load_models
from .fault_file import load_faults
from .faults import Fault
from .ledger import Entry, Ledger
from .models import SandboxModel
from .options import SandboxOptions
from .server import Sandbox
from .threaded import BlockingSandbox
from .urls import Visit

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
