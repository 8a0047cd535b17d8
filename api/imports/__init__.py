"""Imports over HTTP: taking a file in as it comes, what became of it, and cancelling it."""
