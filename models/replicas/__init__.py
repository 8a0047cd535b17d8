"""Servers that replicate the primary: how far each has come, and which reads may go there.

Only fills of the cache's entries are read from them, and only when nothing that they depend on has
been voided for longer than a replica may be behind. docs/decisions/0014 has the argument.
"""
