"""What people run by hand: the ``farmlokal`` command, the embedded stack, seeding, benchmarks.

It may import any other room; none imports it.
"""
