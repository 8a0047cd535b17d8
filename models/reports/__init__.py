"""What others report of products, and what becomes of it: webhooks, partners' answers, imports.

Whoever reports comes this way, so that one order holds for all: ``product_folding`` does it.
"""
