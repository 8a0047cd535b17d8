"""What a partner may touch, how farms are named, and the API keys that belong to partners."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from coordination.errors import InvalidInput, NotFound
from coordination.sealing import Sealer
from models import api_keys
from models.api_key_cache import VerifiedKeys
from models.catalog import farms
from models.database import Database
from models.partners import partners
from models.partners.partners import PartnerChanges
from models.resources import Resources
from models.webhooks.schemes import Scheme


@pytest.fixture
def db(db_resources: Resources) -> Database:
    return db_resources.db


@pytest.fixture
def sealer(db: Database) -> Sealer:
    return Sealer(db.settings.sealing_secret)


async def farm(resources: Resources, external_id: str | None = None) -> int:
    place = {"name": "F", "city": "C", "state": "S", "external_id": external_id}
    return (await farms.create_farm(resources, place)).id


async def test_changing_what_a_partner_may_touch(db_resources: Resources, sealer: Sealer) -> None:
    db = db_resources.db
    one, two, three = [await farm(db_resources) for _ in range(3)]
    added, _ = await partners.add(
        db, sealer, name="acme", scheme=Scheme.HMAC, farms=[two, one, two], rate_limit_requests=9
    )
    assert added.farm_ids == {one, two}
    assert (added.all_farms, added.rate_limit_requests) == (False, 9)
    (row,) = await db.fetch("SELECT farm_ids FROM webhook_partners", purpose="test")
    assert orjson.loads(row["farm_ids"]) == sorted({one, two})

    changed = await partners.update(
        db, sealer, "acme", PartnerChanges(add_farms=[three], may_edit_categories=True)
    )
    assert changed == replace(
        added,
        farm_ids=frozenset({one, two, three}),
        may_edit_categories=True,
        updated_at=changed.updated_at,
    )
    with pytest.raises(InvalidInput, match="999"):
        await partners.update(db, sealer, "acme", PartnerChanges(farms=[one, 999]))
    assert await partners.get(db, sealer, "acme") == changed
    # A farm that is gone must not stand in the way of other changes.
    await db.execute("DELETE FROM farms WHERE id = %s", [three], purpose="test")
    changed = await partners.update(db, sealer, "acme", PartnerChanges(remove_farms=[two]))
    assert changed.farm_ids == {one, three}
    changed = await partners.update(
        db, sealer, "acme", PartnerChanges(all_farms=True, default_rate_limit=True)
    )
    assert (changed.all_farms, changed.farm_ids) == (True, frozenset())
    assert (changed.rate_limit_requests, changed.may_edit_categories) == (None, True)


async def test_farms_added_at_once_are_all_kept(db_resources: Resources, sealer: Sealer) -> None:
    """Two operators who each allow one farm more: the later must not undo the earlier."""
    db = db_resources.db
    ids = [await farm(db_resources) for _ in range(5)]
    await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=[])
    await asyncio.gather(
        *(partners.update(db, sealer, "acme", PartnerChanges(add_farms=[i])) for i in ids)
    )
    assert (await partners.get(db, sealer, "acme")).farm_ids == set(ids)


async def test_farms_are_named_by_our_id_or_their_own(db_resources: Resources) -> None:
    """Directory numbers look like our ids: a guess would let a partner touch another's farm."""
    db = db_resources.db
    plain = await farm(db_resources)
    numbered = await farm(db_resources, "1000001")
    named = await farm(db_resources, "market of the north")
    clashing = await farm(db_resources, str(plain))
    names = [str(named), "1000001", "market of the north", str(numbered), f"id:{plain}"]
    assert await partners.farm_ids_of(db, names) == [named, numbered, plain]
    with pytest.raises(InvalidInput) as caught:
        await partners.farm_ids_of(db, [str(plain)])
    assert f"id:{plain} or id:{clashing}" in str(caught.value)
    unknown = ["", "id:", "id:market of the north", "0", "-1", "9" * 30, "\udcff", "٣"]
    with pytest.raises(InvalidInput) as caught:
        await partners.farm_ids_of(db, unknown)
    assert len(caught.value.errors) == len(unknown)


async def test_a_partners_key_needs_no_scope_and_is_known_by_its_partner(
    db: Database, sealer: Sealer
) -> None:
    """It reads the partner's own receipts, so whose it is must come with it, cached or not."""
    added, _ = await partners.add(db, sealer, name="acme", scheme=Scheme.HMAC, farms=None)
    key, info = await api_keys.create(db, "partner acme", (), added.id)
    assert (info.scopes, info.partner_id) == (frozenset(), added.id)
    verified = VerifiedKeys(db)
    assert await verified.find(key) == await api_keys.find(db, key) == info
    _, plain = await api_keys.create(db, "shop", ["ops:read"])
    assert plain.partner_id is None
    assert await api_keys.list_keys(db) == [info, plain]

    assert await api_keys.revoke(db, info.id)
    assert await api_keys.find(db, key) is None
    assert (await api_keys.list_keys(db))[0].partner_id == added.id


async def test_no_key_without_scopes_or_for_a_partner_who_is_not_there(db: Database) -> None:
    with pytest.raises(InvalidInput):
        await api_keys.create(db, "nobody's", ())
    with pytest.raises(InvalidInput):
        await api_keys.create(db, "acme", ["everything"], 7)
    with pytest.raises(NotFound):
        await api_keys.create(db, "acme", (), 7)
    assert await api_keys.list_keys(db) == []
