"""``make bench-soak``: a mixed load for long enough to see whether anything grows."""
