"""How much of a product can be had, as a supply partner tells it.

``availability`` answers clients at once and asks nobody; ``refreshing`` asks the partner, in a
worker. Import what you need from the modules: the API imports no more than the first.
"""
