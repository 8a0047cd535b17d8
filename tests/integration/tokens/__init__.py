"""Partners' tokens against a real provider, Redis and processes."""
