"""Who may call what: every operation is in one of the tables below, by decision and not by default.

A new route without an entry fails, and so does one whose scope was forgotten.
"""

from __future__ import annotations

from collections import Counter

from api.app import ROUTES
from api.endpoint import Limited
from models.api_keys import SCOPES
from tests.route_access import KNOWN_OTHERWISE, NEEDS_SCOPE, PUBLIC


def test_each_operation_needs_what_was_decided() -> None:
    decided: dict[tuple[str, str], str | None] = {
        **NEEDS_SCOPE,
        **dict.fromkeys(PUBLIC | KNOWN_OTHERWISE),
    }
    assert {(route.method, route.template): route.scope for route in ROUTES} == decided
    assert len(ROUTES) == len(decided)


def test_each_operation_stands_in_one_table() -> None:
    counted = Counter([*NEEDS_SCOPE, *PUBLIC, *KNOWN_OTHERWISE])
    assert [operation for operation, times in counted.items() if times > 1] == []


def test_what_is_public_changes_nothing() -> None:
    assert {method for method, _ in PUBLIC} == {"GET"}


def test_scopes_are_those_that_keys_can_have() -> None:
    """One with a slip of the pen would shut everybody out, and one nobody needs would mislead."""
    assert set(NEEDS_SCOPE.values()) == set(SCOPES)


def test_a_scope_is_asked_for_by_routes_that_look_at_keys() -> None:
    """Routes that know their clients otherwise are not asked who presents a key."""
    by_key = {Limited.BEFORE, Limited.WITH_READ}
    assert [r.path for r in ROUTES if r.scope is not None and r.limited not in by_key] == []
