"""What partners may be called and touch, how spans are typed: rules that need no server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from coordination.errors import InvalidInput, NotFound
from models.partners.checks import (
    PartnerChanges,
    changed_reach,
    check_overlap,
    check_rate_limit,
)
from models.partners.names import check_name, is_partner_name, require_partner_name
from models.partners.partners import Partner, Secret, fingerprint_of
from models.webhooks.schemes import Scheme
from ops.cli.durations import seconds_of

NOW = datetime.now(UTC)
PARTNER = Partner(
    id=1,
    name="acme",
    scheme=Scheme.STANDARD,
    all_farms=False,
    farm_ids=frozenset({1, 2}),
    may_edit_categories=False,
    is_active=True,
    rate_limit_requests=None,
    secrets=(Secret(1, "whsec_hidden", "0123456789ab", NOW, None, None),),
    created_at=NOW,
    updated_at=NOW,
)


@pytest.mark.parametrize("name", ["a", "0", "acme", "acme-2-farms", "x" * 64, "events-2"])
def test_names_that_make_a_path_segment(name: str) -> None:
    check_name(name)
    assert require_partner_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "events", "Acme", "a_b", "a--b", "-a", "a-", "a b", "a/b", "é", "a\n", "x" * 65, "\udcff"],
)
def test_names_that_no_partner_can_have(name: str) -> None:
    """A name is a path segment of its own, and `events` is another resource's."""
    assert not is_partner_name(name)
    with pytest.raises(InvalidInput) as caught:
        check_name(name)
    assert [error.name for error in caught.value.errors] == ["/name"]
    with pytest.raises(NotFound):
        require_partner_name(name)


def test_a_partner_may_touch_its_own_farms() -> None:
    assert PARTNER.may_touch_farm(2)
    assert not PARTNER.may_touch_farm(3)
    assert replace(PARTNER, all_farms=True, farm_ids=frozenset()).may_touch_farm(3)


def test_what_is_logged_of_a_partner_holds_no_secret() -> None:
    """Values end up in log lines and failed assertions."""
    assert "whsec_hidden" not in repr(PARTNER)


def test_a_fingerprint_is_the_beginning_of_the_secrets_digest() -> None:
    assert fingerprint_of("abc") == "ba7816bf8f01"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (PartnerChanges(), (False, {1, 2})),
        (PartnerChanges(may_edit_categories=True), (False, {1, 2})),
        (PartnerChanges(all_farms=True), (True, set())),
        (PartnerChanges(farms=[5, 5]), (False, {5})),
        (PartnerChanges(farms=[]), (False, set())),
        (PartnerChanges(add_farms=[3, 1]), (False, {1, 2, 3})),
        (PartnerChanges(remove_farms=[1]), (False, {2})),
        (PartnerChanges(add_farms=[4], remove_farms=[2]), (False, {1, 4})),
    ],
)
def test_farms_after_a_change(changes: PartnerChanges, expected: tuple[bool, set[int]]) -> None:
    all_farms, farm_ids = changed_reach(PARTNER, changes)
    assert (all_farms, set(farm_ids)) == expected


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        (PARTNER, PartnerChanges(all_farms=True, farms=[1])),
        (PARTNER, PartnerChanges(farms=[1], add_farms=[2])),
        (PARTNER, PartnerChanges(all_farms=True, remove_farms=[1])),
        (PARTNER, PartnerChanges(remove_farms=[7])),
        (replace(PARTNER, all_farms=True), PartnerChanges(remove_farms=[1])),
        (replace(PARTNER, all_farms=True), PartnerChanges(add_farms=[1])),
    ],
)
def test_contradicting_changes_are_refused(before: Partner, changes: PartnerChanges) -> None:
    """Guessing what was meant would hand out farms that nobody meant to."""
    with pytest.raises(InvalidInput):
        changed_reach(before, changes)


def test_limits_and_overlaps_have_bounds() -> None:
    for fine in (None, 1, 1_000_000_000):
        check_rate_limit(fine)
    for wrong in (0, -1, 1_000_000_001):
        with pytest.raises(InvalidInput):
            check_rate_limit(wrong)
    for fine in (0, 365 * 86_400):
        check_overlap(fine)
    for wrong in (-1, 365 * 86_400 + 1):
        with pytest.raises(InvalidInput):
            check_overlap(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0h", 0), ("90s", 90), ("30m", 1_800), (" 24H ", 86_400), ("7d", 604_800)],
)
def test_spans_as_people_type_them(text: str, seconds: int) -> None:
    assert seconds_of(text, "--overlap") == seconds


@pytest.mark.parametrize(
    "text", ["", "24", "h", "-1h", "1.5h", "1h30m", "1y", "１h", "9" * 10 + "s"]
)
def test_what_is_no_span_is_named(text: str) -> None:
    """A bare number could be hours or seconds: an old secret would end a day early."""
    with pytest.raises(InvalidInput, match="--overlap"):
        seconds_of(text, "--overlap")
