"""The HTTP face: parses and answers; reads and writes through ``models`` and only enqueues."""
