"""The database: tables, migrations, catalogue reads and writes, durable work.

What differs between MariaDB/MySQL and SQLite lives in ``dialects``; nothing here knows HTTP.
"""
