"""What a batch will do and cost, before anything is sent."""
