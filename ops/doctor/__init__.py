"""What `farmlokal doctor` looks at: settings, database, Redis, migrations; and what to do.

It only looks; nothing is changed.
"""
