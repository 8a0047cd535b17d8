"""The Redis plane and what every process shares: settings, clients, keys, job contracts, cache,
limits, leases, errors, logs and metrics. It imports no sibling room and opens nothing at import.
"""
