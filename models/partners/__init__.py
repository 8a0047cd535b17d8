"""Partners: who may send webhooks, by which secrets, about what. ``partners`` is the way in."""
