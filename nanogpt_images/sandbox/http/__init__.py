"""Requests and answers on the socket."""
