"""Parts that every layer may use and that know nothing of images or money: they import `errors` only."""
