"""Manifests on the command line: the options about them, and what is asked before they are paid for."""
