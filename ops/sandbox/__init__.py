"""The partner sandbox: one small HTTP server that plays a supply partner, for trying and testing.

It issues tokens, tells availability, sends signed webhooks, and fails in every way it is told to.
It is a stranger to our processes: it knows them over HTTP only, and it is no part of production.
"""
