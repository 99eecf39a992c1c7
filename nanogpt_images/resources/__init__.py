"""The resources of a client, and the pipeline of one paid request."""
