"""Partners and their secrets in the database: kept sealed, rotated with an overlap, ended."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace

import pytest

from coordination.errors import Conflict, InvalidInput, Misconfigured, NotFound
from coordination.sealing import Sealer
from models.database import Database
from models.partners import partners
from models.partners.partners import PartnerChanges
from models.partners.records import KEPT_EXPIRED_S
from models.resources import Resources
from models.webhooks.schemes import Scheme

DAY_S = 86_400
PUBLIC_KEY = "whpk_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


@pytest.fixture
def sealer(db: Database) -> Sealer:
    return Sealer(db.settings.sealing_secret)


async def age(db: Database, secret_id: int, by_s: int) -> None:
    """Let a secret have expired ``by_s`` ago, by the database's clock."""
    await db.execute(
        f"UPDATE webhook_secrets SET expires_at = {db.dialect.now_plus_us.format('%s')}"
        " WHERE id = %s",
        [-by_s * 1_000_000, secret_id],
        purpose="test",
    )


@pytest.mark.parametrize("scheme", list(Scheme))
async def test_an_added_partner_is_found_and_its_secret_is_kept_sealed_only(
    db: Database, sealer: Sealer, scheme: Scheme
) -> None:
    """A copy of the database alone must forge no webhook."""
    added, secret = await partners.add(db, sealer, name="acme", scheme=scheme, farms=None)
    assert (added.name, added.scheme, added.is_active) == ("acme", scheme, True)
    assert added.all_farms
    assert [s.value for s in added.secrets] == [secret]
    assert added.secrets[0].fingerprint == partners.fingerprint_of(secret)
    assert added.secrets[0].expires_at is None
    assert await partners.find(db, sealer, "acme") == added
    assert await partners.get(db, sealer, "acme") == added
    assert await partners.get_by_id(db, sealer, added.id) == added
    assert await partners.list_partners(db, sealer) == [added]
    assert await partners.names_by_id(db) == {added.id: "acme"}
    (row,) = await db.fetch("SELECT * FROM webhook_secrets", purpose="test")
    assert not [v for v in row.values() if secret.removeprefix("whsec_") in str(v)]


async def test_unknown_partners(db: Database, sealer: Sealer) -> None:
    for name in ("acme", "events", "Not a name", "\udcff"):
        assert await partners.find(db, sealer, name) is None
        with pytest.raises(NotFound):
            await partners.get(db, sealer, name)
        with pytest.raises(NotFound):
            await partners.rotate(db, sealer, name, overlap_s=0)
        with pytest.raises(NotFound):
            await partners.update(db, sealer, name, PartnerChanges(all_farms=True))
        with pytest.raises(NotFound):
            await partners.set_active(db, name, False)
        with pytest.raises(NotFound):
            await partners.expire_secret(db, name, "0" * 12)
    assert await partners.get_by_id(db, sealer, 7) is None


async def test_what_cannot_be_added_is_named_and_leaves_nothing(
    db: Database, sealer: Sealer
) -> None:
    async def refused(**given: object) -> str:
        usual = {"name": "acme", "scheme": Scheme.HMAC, "farms": None}
        with pytest.raises(InvalidInput) as caught:
            await partners.add(db, sealer, **{**usual, **given})  # type: ignore[arg-type]
        return caught.value.errors[0].name

    assert await refused(name="events") == "/name"
    assert await refused(name="A") == "/name"
    assert await refused(secret="short") == "/secret"
    assert await refused(scheme=Scheme.STANDARD, secret="no-prefix-but-quite-long") == "/secret"
    assert await refused(farms=[1]) == "/farms"
    assert await refused(farms=range(1, 6_000)) == "/farms"
    assert await refused(rate_limit_requests=0) == "/rate_limit_requests"
    assert await partners.list_partners(db, sealer) == []


async def test_a_name_is_given_once_even_to_ten_at_once(db: Database, sealer: Sealer) -> None:
    """The address of a partner names one secret's owner, whoever adds it at the same time."""
    outcomes = await asyncio.gather(
        *(
            partners.add(db, sealer, name="acme", scheme=Scheme.GITHUB, farms=None)
            for _ in range(10)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 9
    (partner,) = await partners.list_partners(db, sealer)
    assert len(partner.secrets) == 1


async def test_a_wrong_sealing_secret_says_what_to_do_and_writes_nothing(
    db: Database, sealer: Sealer
) -> None:
    """A process with a wrong SEALING_SECRET must not seal what no other process can open."""
    added, secret = await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=None)
    wrong = Sealer(["w" * 32])
    for attempt in (
        partners.find(db, wrong, "acme"),
        partners.get(db, wrong, "acme"),
        partners.list_partners(db, wrong),
        partners.rotate(db, wrong, "acme", overlap_s=DAY_S),
    ):
        with pytest.raises(Misconfigured, match="SEALING_SECRET") as caught:
            await attempt
        assert added.secrets[0].fingerprint in str(caught.value)
        assert secret not in str(caught.value)
    both = Sealer(["w" * 32, *db.settings.sealing_secret])
    assert await partners.find(db, both, "acme") == added

    # The way out that the message names, when the right one is lost.
    await partners.expire_secret(db, "acme", added.secrets[0].fingerprint, even_last=True)
    rotated, _ = await partners.rotate(db, wrong, "acme", overlap_s=0)
    assert await partners.get(db, wrong, "acme") == rotated


async def test_rotations_within_an_overlap_keep_all_secrets_until_each_ones_end(
    db: Database, sealer: Sealer
) -> None:
    """A partner takes up a new secret when it can; nothing it sends meanwhile may be refused."""
    _, first = await partners.add(db, sealer, name="acme", scheme=Scheme.STANDARD, farms=None)
    _, second = await partners.rotate(db, sealer, "acme", overlap_s=DAY_S)
    rotated, third = await partners.rotate(db, sealer, "acme", overlap_s=2 * DAY_S)
    assert [s.value for s in rotated.secrets] == [third, second, first]
    newest, middle, oldest = rotated.secrets
    assert newest.expires_at is None
    assert middle.expires_at is not None
    assert oldest.expires_at is not None
    # Each keeps the sooner of its ends.
    assert DAY_S - 60 < (oldest.expires_at - newest.created_at).total_seconds() <= DAY_S
    assert 2 * DAY_S - 60 < (middle.expires_at - newest.created_at).total_seconds() <= 2 * DAY_S
    assert await partners.find(db, sealer, "acme") == rotated

    await age(db, oldest.id, 1)
    found = await partners.find(db, sealer, "acme")
    assert found is not None
    assert [s.value for s in found.secrets] == [third, second]
    # People still see it, to tell who signs with it.
    assert [s.value for s in (await partners.get(db, sealer, "acme")).secrets] == [
        third,
        second,
        first,
    ]

    rotated, fourth = await partners.rotate(db, sealer, "acme", overlap_s=0)
    assert [s.value for s in rotated.secrets] == [fourth]


async def test_rotating_at_once_loses_no_secret(db: Database, sealer: Sealer) -> None:
    """Two operators at once: each hands a secret to the partner, so each must work."""
    _, first = await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=None)
    made = await asyncio.gather(
        *(partners.rotate(db, sealer, "acme", overlap_s=DAY_S) for _ in range(5))
    )
    found = await partners.find(db, sealer, "acme")
    assert found is not None
    assert {s.value for s in found.secrets} == {first, *(secret for _, secret in made)}
    assert [s.expires_at is None for s in found.secrets] == [True, *[False] * 5]


async def test_secrets_long_expired_are_gone_after_the_next_rotation(
    db: Database, sealer: Sealer
) -> None:
    added, _ = await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=None)
    await partners.rotate(db, sealer, "acme", overlap_s=DAY_S)
    await age(db, added.secrets[0].id, KEPT_EXPIRED_S + 1)
    assert len((await partners.get(db, sealer, "acme")).secrets) == 1
    await partners.rotate(db, sealer, "acme", overlap_s=DAY_S)
    rows = await db.fetch("SELECT id FROM webhook_secrets ORDER BY id", purpose="test")
    assert len(rows) == 2
    assert added.secrets[0].id not in [row["id"] for row in rows]


async def test_a_partner_with_a_key_pair_gives_its_own_public_key(
    db: Database, sealer: Sealer
) -> None:
    """A shared secret made by us would be of no use to one who signs by ed25519."""
    added, shown = await partners.add(
        db, sealer, name="acme", scheme=Scheme.STANDARD, secret=PUBLIC_KEY, farms=None
    )
    assert shown == PUBLIC_KEY
    with pytest.raises(InvalidInput, match="public"):
        await partners.rotate(db, sealer, "acme", overlap_s=0)
    with pytest.raises(InvalidInput, match="private signing key"):
        await partners.rotate(db, sealer, "acme", overlap_s=0, secret="whsk_" + "A" * 43)
    with pytest.raises(Conflict):
        await partners.rotate(db, sealer, "acme", overlap_s=0, secret=PUBLIC_KEY)
    assert await partners.get(db, sealer, "acme") == added
    other = "whpk_" + base64.b64encode(bytes(range(1, 33))).decode()
    rotated, _ = await partners.rotate(db, sealer, "acme", overlap_s=60, secret=other)
    assert [s.value for s in rotated.secrets] == [other, PUBLIC_KEY]


async def test_ending_a_secret_now_but_not_the_last_by_mistake(
    db: Database, sealer: Sealer
) -> None:
    added, first = await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=None)
    fingerprint = added.secrets[0].fingerprint
    with pytest.raises(Conflict, match="rotate"):
        await partners.expire_secret(db, "acme", fingerprint)
    _, second = await partners.rotate(db, sealer, "acme", overlap_s=DAY_S)
    await partners.expire_secret(db, "acme", fingerprint.upper())
    with pytest.raises(NotFound):
        await partners.expire_secret(db, "acme", fingerprint)
    found = await partners.find(db, sealer, "acme")
    assert found is not None
    assert [s.value for s in found.secrets] == [second]
    # Brought back on purpose, as a partner does that could not change after all.
    rotated, _ = await partners.rotate(db, sealer, "acme", overlap_s=DAY_S, secret=first)
    assert [s.value for s in rotated.secrets] == [first, second]


async def test_a_match_is_noted_on_its_secret_alone(db: Database, sealer: Sealer) -> None:
    await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=None)
    rotated, _ = await partners.rotate(db, sealer, "acme", overlap_s=DAY_S)
    newest, oldest = rotated.secrets
    await partners.note_match(db, newest.id)
    shown = (await partners.get(db, sealer, "acme")).secrets
    assert shown[0].last_matched_at is not None
    assert shown[0].last_matched_at >= newest.created_at
    assert shown[1] == oldest
    await partners.note_match(db, 12345)  # gone meanwhile: nothing to note


async def test_disabling_and_enabling(db: Database, sealer: Sealer) -> None:
    added, _ = await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=None)
    for active in (False, False, True, True):
        await partners.set_active(db, "acme", active)
        found = await partners.find(db, sealer, "acme")
        assert found is not None
        assert found == replace(added, is_active=active, updated_at=found.updated_at)
