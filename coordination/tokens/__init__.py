"""Partners' OAuth tokens: shared over Redis, refreshed ahead, obtained once for all processes.

``store`` is what callers use; ``providers`` is what the settings say; the rest stands behind them.
"""
