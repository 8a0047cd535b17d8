"""Partners' webhooks over HTTP: taking them in, and what became of them."""
