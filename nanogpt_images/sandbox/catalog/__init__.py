"""The models of the sandbox, and their listings."""
