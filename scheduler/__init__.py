"""Tells workers when to look: one leader at a time, and it only enqueues.

``python -m scheduler`` runs it. It never touches the database; losing it for a while delays upkeep.
"""
