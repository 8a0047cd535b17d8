"""Schema changes in order, each expand-then-contract so old and new processes can run
side by side.

DDL is written by hand for each dialect: index names and column types are part of the contract.
"""
