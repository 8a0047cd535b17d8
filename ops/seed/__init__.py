"""Seeding: a made-up but believable catalogue from real USDA names, and its way into a database.

Foods, food groups, markets, places and coordinates are real (``ops/data/README.md``). That a market
offers a food, its price, its stock and its date are drawn from a seeded random source.
"""
