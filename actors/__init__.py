"""The worker: Dramatiq actors, each a thin shell around a coroutine of ``models`` or of this room.

``python -m actors`` runs it. It answers no HTTP but metrics and never decides when work is due.
"""
