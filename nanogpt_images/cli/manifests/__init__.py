"""Manifests on the command line: their options, and the question before they are paid for."""
