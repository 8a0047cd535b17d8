"""What all drills share: a running shop, a steady mixed load on it, a verdict, a table.

``shop`` starts the fleet, ``load`` is its customers and partners, ``judging`` compares what they
were told with what the database holds, ``table`` prints what the drills found.
"""
