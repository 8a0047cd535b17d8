"""Schema changes in order, each expand-then-contract so old and new processes can run
side by side.

What expands is applied before the new release starts; what contracts (``contract = True`` in its
class) only by `farmlokal migrate --contract`, once the release that still needs it is gone. A later
migration depends on one that contracts only if it must wait for it.

DDL is written by hand for each dialect: index names and column types are part of the contract.
"""
