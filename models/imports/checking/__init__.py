"""Checks a chunk of a file: its records become rows of ours, or faults that people can act on.

Pure: no database, no clock. What only the database or the rest of the file can tell (whether a
farm or category exists, whether a sku is repeated) is judged elsewhere. Values obey the same
bounds as the API's own fields, with the same texts.
"""

from models.imports.checking.chunk_checks import check_chunk

__all__ = ["check_chunk"]
