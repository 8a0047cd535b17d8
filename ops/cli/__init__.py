"""The ``farmlokal`` command: one module per group of commands.

Every command takes ``--json`` (one object on stdout, or an event a line for ``up``) and ends with

| code | means |
| --- | --- |
| 0 | done; every check passed |
| 1 | the operation or a check failed |
| 2 | the command line or the settings are wrong |
| 3 | the database, Redis or the API does not answer |
| 130 | interrupted |
"""
