"""Private MariaDB and Redis servers on loopback ports, which tests may kill, freeze and restart."""

from tests.servers.binaries import (
    BinariesMissingError,
    MariaDBPrograms,
    provide_mariadb,
    provide_redis,
)
from tests.servers.mariadb_server import PrivateMariaDB
from tests.servers.private import ServerFailedError
from tests.servers.redis_server import PrivateRedis
from tests.servers.sql import SqlServer

__all__ = [
    "BinariesMissingError",
    "MariaDBPrograms",
    "PrivateMariaDB",
    "PrivateRedis",
    "ServerFailedError",
    "SqlServer",
    "provide_mariadb",
    "provide_redis",
]
