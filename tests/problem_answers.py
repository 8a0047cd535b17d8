"""What every refusal must look like, whoever caused it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["assert_problem"]

_MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}
_QUOTA = "https://iana.org/assignments/http-problem-types#quota-exceeded"
# SQL, stacks, and the words of the libraries beneath.
_LEAKS = re.compile(
    r"\b(select|insert into|update \w+ set|delete from|where \w+ =|sql|sqlite|sqlstate|mysql"
    r"|mariadb|innodb|pymysql|asyncmy|aiomysql|aiosqlite|tortoise|pydantic|orjson|sanic|httptools|redis|uvloop"
    r"|traceback|exception|errno|keyerror|valueerror|typeerror|nonetype|unicode ?decode"
    r"|codec|utf_8|input_value|string_type|value_error)\b"
    r"|\.py\b|0x[0-9a-f]{6}|<class|File \"|\bline \d+",
    re.IGNORECASE,
)


def assert_problem(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    expected: int,
    kind: str,
    place: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Assert a complete problem; ``place``: the member and name that ``errors`` must hold."""
    shown = f"{status} {dict(headers)} {body[:600]!r}"
    assert status == expected, shown
    assert headers["content-type"] == "application/problem+json", shown
    assert headers["cache-control"] == "no-store", shown
    assert headers["x-content-type-options"] == "nosniff", shown
    assert "alt-svc" not in headers, shown
    problem: dict[str, Any] = json.loads(body)
    extra = {"errors"} if "errors" in problem else set()
    if expected == 429:
        assert problem["type"] == _QUOTA, shown
        extra.add("violated-policies")
    else:
        assert problem["type"] == f"urn:farmlokal:problem:{kind}", shown
    assert set(problem) == _MEMBERS | extra, shown
    assert problem["status"] == expected, shown
    assert problem["title"], shown
    assert problem["request_id"] == headers["x-request-id"], shown
    # What the client sent may come back in the path, and nowhere else.
    ours = json.dumps({k: v for k, v in problem.items() if k != "instance"})
    assert not _LEAKS.search(ours), shown
    if place is not None:
        named = [item for item in problem["errors"] if item.get(place[0]) == place[1]]
        assert named, shown
        assert all(item["detail"] for item in named), shown
    return problem
