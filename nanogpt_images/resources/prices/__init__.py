"""What a request may cost, by the catalogue, by the service, and by what is charged beside it."""
