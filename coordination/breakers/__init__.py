"""Circuit breakers: whether a partner may be asked at all, decided for the whole fleet."""
