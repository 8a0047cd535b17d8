"""Calls of partners' APIs, made by actors only. Import what you need from its modules.

Empty on purpose: the settings import ``services``, and no other module of this package.
"""
