"""Deploying without a pause: two colours behind HAProxy, shifted by its runtime API.

It owns the proxy's configuration, and the steps from a started colour to a finished deployment. The
schema is ``models.migrate``'s; what a process does when it is told to stop is that process's own.
"""
