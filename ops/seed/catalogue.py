"""The catalogue generator: foods crossed with markets, as a pure stream.

A market (the farm) offers a food (the product). Every (farm, sku) comes once, up to 13.5 million.
**Which market offers what, prices, stock and dates are made up** from a seeded random source;
names, groups, portions and places are real. The same ``count`` and ``seed`` give the same rows, and
a larger count keeps the farm, sku, price and stock of the smaller one, so growing only adds.

Nothing here touches a database, a clock or a file beyond the shipped data. Memory does not grow
with the number of products.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import orjson

from ops.seed.prices import DEFAULT_PRICE_RANGE, PRICE_RANGE_BY_FOOD_GROUP, PRICE_STEP_MINOR
from ops.seed.usda import Food, Market, read_foods, read_markets

# Fixed, so that a catalogue is the same on every day it is made, and past on any sane clock.
OPENED_AT: Final = datetime(2024, 1, 1, tzinfo=UTC)
CLOSED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOT_ALNUM: Final = re.compile(r"[^a-z0-9]+")
_UPLOAD_ROWS: Final = 64


class Category(NamedTuple):
    """A food group. They have no parents."""

    slug: str
    name: str


class Farm(NamedTuple):
    """A market of the directory; ``external_id`` is its directory number."""

    external_id: str
    name: str
    city: str
    state: str
    latitude: float
    longitude: float


class Product(NamedTuple):
    """One row to store. A named tuple, because a million of them are made and bound by position."""

    id: bytes
    """UUIDv7; its time part is ``created_at`` to the microsecond."""
    sku: str
    name: str
    description: str
    category_slug: str
    farm_external_id: str
    price_minor: int
    currency: str
    unit: str
    stock: int
    attributes: str
    """A JSON object."""
    created_at: datetime


class _Offer(NamedTuple):
    """The half of a product that its food decides."""

    sku: str
    name: str
    description: str
    category_slug: str
    price_level: float
    unit: str
    attributes: str


class _Stall(NamedTuple):
    """The half of a product that its market decides."""

    external_id: str
    description: str
    price_factor: float
    attributes: str


class Catalogue:
    """All products that foods and markets make, in an order fixed by ``seed``."""

    def __init__(self, seed: int) -> None:
        foods, markets = read_foods(), read_markets()
        self.seed = seed
        self.categories = tuple(
            Category(slug_of(name), name) for name in sorted({food.food_group for food in foods})
        )
        self.farms = tuple(
            Farm(m.fmid, m.name, m.city, m.state, m.latitude, m.longitude) for m in markets
        )
        draw = random.Random(f"catalogue {seed}")  # noqa: S311 - reproducible, not secret
        self._offers = [_offer(food, draw.random()) for food in _interleaved(foods, draw)]
        stalls = [_stall(market, draw.random()) for market in markets]
        self._stalls = sorted(stalls, key=lambda _: draw.random())

    @property
    def size(self) -> int:
        """How many distinct products there are."""
        return len(self._offers) * len(self._stalls)

    def products(self, count: int) -> Iterator[Product]:
        """The first ``count`` products, oldest first. Raises ``ValueError`` beyond ``size``.

        Any stretch is spread evenly over farms and food groups (``pairing``).
        """
        if not 0 <= count <= self.size:
            raise ValueError(f"a catalogue has between 0 and {self.size:,} products, not {count:,}")
        offers, stalls = self._offers, self._stalls
        random_bits = random.Random(f"rows {self.seed}").getrandbits  # noqa: S311
        instants = _Instants(count)
        for index in range(count):
            bits = random_bits(128)
            which_offer, which_stall = pairing(index, len(offers), len(stalls))
            offer, stall = offers[which_offer], stalls[which_stall]
            micros, created_at = instants.at(index, bits >> 96)
            price = offer.price_level * stall.price_factor * (0.9 + (bits >> 80 & 0xFF) / 1275)
            yield Product(
                _uuid7(micros, bits & 0x3FFF_FFFF_FFFF_FFFF),
                offer.sku,
                offer.name,
                offer.description + stall.description,
                offer.category_slug,
                stall.external_id,
                max(PRICE_STEP_MINOR, round(price / PRICE_STEP_MINOR) * PRICE_STEP_MINOR),
                "USD",
                offer.unit,
                _stock(bits >> 64 & 0xFFFF),
                offer.attributes + stall.attributes,
                created_at,
            )


def pairing(index: int, offers: int, stalls: int) -> tuple[int, int]:
    """Which offer meets which stall in row ``index``; every pair once in ``offers * stalls`` rows.

    Both run at once, so neighbours differ in both. After each common multiple of the two numbers
    the stalls shift by one, or pairs would repeat when the numbers share a divisor.
    """
    return index % offers, (index + index // math.lcm(offers, stalls)) % stalls


class _Instants:
    """Non-decreasing creation times, spread over the window, with the ties real entry has.

    About one product in five shares the time of the one before it (two entered together), and one
    block of ``_UPLOAD_ROWS`` in eight shares a single time (a list uploaded at once).
    """

    def __init__(self, count: int) -> None:
        span = (CLOSED_AT - OPENED_AT) // _MICROSECOND
        self._opened = (OPENED_AT - _EPOCH) // _MICROSECOND
        self._step = span // max(count, 1)
        self._in_upload = False
        self._last = (self._opened, OPENED_AT)

    def at(self, index: int, bits: int) -> tuple[int, datetime]:
        """The time of row ``index``, as Unix microseconds and as a datetime; 32 random bits."""
        first_of_block = index % _UPLOAD_ROWS == 0
        if first_of_block:
            self._in_upload = bits & 7 == 0
        together = self._in_upload or bits >> 3 & 0xF < 3
        if index and together and not first_of_block:
            return self._last
        micros = self._opened + index * self._step + (bits >> 7) * self._step // (1 << 25)
        self._last = (micros, _EPOCH + timedelta(microseconds=micros))
        return self._last


def slug_of(name: str) -> str:
    """A food group's address part: lower-case words joined by hyphens."""
    return _NOT_ALNUM.sub("-", name.lower()).strip("-")


def _uuid7(micros: int, random_62: int) -> bytes:
    """RFC 9562 version 7; ``rand_a`` holds the sub-millisecond part (its section 6.2, method 3)."""
    milliseconds, rest = divmod(micros, 1000)
    value = milliseconds << 80 | 0x7 << 76 | (rest << 12) // 1000 << 64 | 0x2 << 62 | random_62
    return value.to_bytes(16, "big")


def _stock(bits: int) -> int:
    """Sold out once in twelve, else up to 180, small numbers more often than large ones."""
    if bits % 12 == 0:
        return 0
    share = (bits >> 4) / 4096
    return 1 + int(180 * share * share)


def _interleaved(foods: tuple[Food, ...], draw: random.Random) -> list[Food]:
    """Foods in an order where every stretch holds the food groups in their true proportions."""
    sizes = Counter(food.food_group for food in foods)
    seen: Counter[str] = Counter()
    keyed = []
    for food in sorted(foods, key=lambda _: draw.random()):
        place = (seen[food.food_group] + draw.random()) / sizes[food.food_group]
        seen[food.food_group] += 1
        keyed.append((place, food.ndb_no, food))
    return [food for _, _, food in sorted(keyed)]


def _offer(food: Food, draw: float) -> _Offer:
    low, high = PRICE_RANGE_BY_FOOD_GROUP.get(food.food_group, DEFAULT_PRICE_RANGE)
    known_as = f", also known as {food.common_name}" if food.common_name else ""
    maker = f", made by {food.manufacturer.rstrip('.')}" if food.manufacturer else ""
    grams = food.portion_grams
    portion = f" {food.portion_amount} {food.unit} is about {grams:g} g." if grams else ""
    facts: dict[str, object] = {"ndb_no": food.ndb_no}
    if grams:
        amount = float(food.portion_amount)
        facts["portion"] = {"amount": amount, "unit": food.unit, "grams": grams}
    if food.manufacturer:
        facts["manufacturer"] = food.manufacturer
    return _Offer(
        sku=f"NDB-{food.ndb_no}",
        name=food.name,
        description=f"{food.name}{known_as}{maker}.{portion}",
        category_slug=slug_of(food.food_group),
        price_level=low + (high - low) * draw**1.5,
        unit=food.unit,
        attributes=orjson.dumps(facts).decode()[:-1] + ",",
    )


def _stall(market: Market, draw: float) -> _Stall:
    facts = {"organic": "Organic" in market.sells, "county": market.county}
    place = ", ".join(part for part in (market.city, market.state) if part)
    return _Stall(
        external_id=market.fmid,
        description=f" Offered by {market.name} in {place}.",
        price_factor=0.85 + 0.45 * draw,
        attributes=orjson.dumps(facts).decode()[1:],
    )
