"""HTTP: requests, answers, signed URLs and the routes."""
