"""The models of the sandbox, and the listings made of them."""
