"""Products, categories and farms over HTTP."""
