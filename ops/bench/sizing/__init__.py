"""``python -m ops.bench.sizing``: what one product and one request cost, and what many would."""
