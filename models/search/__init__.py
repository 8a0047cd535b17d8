"""The inverted index that answers searches whose cost must not follow the number of matches.

It is kept beside the engine's own full-text index, by workers that follow the change feed; what
they have not come to yet, a search looks through itself. Writers know nothing of it.
"""
