"""Bounds of availability that cannot work are refused at start, in words."""

from __future__ import annotations

import pytest

from coordination.errors import Misconfigured
from coordination.settings import load_settings

SERVICES = '{"supply": {"base_url": "https://supply.example", "deadline_ms": 5000}}'


def test_nobody_is_asked_by_default() -> None:
    assert load_settings().supply_service == ""
    named = load_settings(partner_services=SERVICES, supply_service="supply")
    assert (named.supply_fresh_s, named.supply_stale_s) == (30, 600)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"supply_service": "elsewhere"}, "one of PARTNER_SERVICES"),
        ({"supply_fresh_s": 601}, "SUPPLY_FRESH_S must not exceed"),
        ({"supply_refresh_lease_ms": 5_000}, "exceed the service's deadline_ms"),
        ({"supply_refresh_lease_ms": 600_000, "supply_stale_s": 599}, "must not exceed SUPPLY_ST"),
    ],
)
def test_what_cannot_work_is_told(wrong: dict[str, object], text: str) -> None:
    given: dict[str, object] = {"partner_services": SERVICES, "supply_service": "supply"}
    with pytest.raises(Misconfigured, match=text):
        load_settings(**{**given, **wrong})
