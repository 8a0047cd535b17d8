"""The change feed: every change of a product in one total order, for mirrors and search indexes.

Writers leave changes without a number, but for first ones of an import; ``numbering`` is the one
sequencer, ``following`` what followers read, ``watching`` where they wait, ``retention`` what takes
the oldest away.
"""
