"""Webhooks of partners: who may send, what was taken in, and what became of it.

``intake`` stores a delivery once; ``processing`` applies it in order; ``inspection`` and
``operations`` are what operators see and do. Signatures are ``api.signatures``' affair.
"""
