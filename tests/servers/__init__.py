"""Private MariaDB, Redis and HAProxy on loopback ports: tests may kill, freeze and restart them."""

from tests.servers.binaries import (
    BinariesMissingError,
    MariaDBPrograms,
    provide_faketime,
    provide_haproxy,
    provide_mariadb,
    provide_redis,
)
from tests.servers.haproxy import PrivateHAProxy
from tests.servers.mariadb_server import PrivateMariaDB
from tests.servers.private import ServerFailedError
from tests.servers.redis_cluster import PrivateRedisCluster
from tests.servers.redis_sentinel import PrivateSentinels
from tests.servers.redis_server import PrivateRedis
from tests.servers.sql import SqlServer

__all__ = [
    "BinariesMissingError",
    "MariaDBPrograms",
    "PrivateHAProxy",
    "PrivateMariaDB",
    "PrivateRedis",
    "PrivateRedisCluster",
    "PrivateSentinels",
    "ServerFailedError",
    "SqlServer",
    "provide_faketime",
    "provide_haproxy",
    "provide_mariadb",
    "provide_redis",
]
