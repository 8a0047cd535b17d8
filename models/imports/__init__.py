"""Imports: a farm's whole list, taken in as a stream, checked as a whole, applied in chunks.

``reading`` turns an upload's bytes into chunks of whole records and ``checking`` a chunk into
rows and faults; both are pure. ``intake`` stores an upload, ``processing`` takes it through its
stages in workers, ``inspection`` and ``cancelling`` are what clients and operators see and do.
"""
