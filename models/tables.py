"""The tables as Tortoise models. Their DDL, indexes included, is in ``models/migrations``."""

from __future__ import annotations

from typing import Any

from tortoise import fields
from tortoise.models import Model

from models.fields import BinaryUUIDField, UtcDatetimeField


class Category(Model):
    """A node of the category tree. ``slug`` names it in URLs and cache generations."""

    id = fields.BigIntField(primary_key=True)
    slug = fields.CharField(max_length=80, unique=True)
    name = fields.CharField(max_length=200)
    parent_id: int | None = fields.BigIntField(null=True)
    version = fields.IntField(default=1)
    created_at = UtcDatetimeField()
    updated_at = UtcDatetimeField()

    class Meta:
        table = "categories"


class Farm(Model):
    """Who offers products. ``external_id`` is the partner's or directory's own name for it."""

    id = fields.BigIntField(primary_key=True)
    external_id = fields.CharField(max_length=64, unique=True, null=True)
    name = fields.CharField(max_length=200)
    city = fields.CharField(max_length=120)
    state = fields.CharField(max_length=120)
    latitude: float | None = fields.FloatField(null=True)
    longitude: float | None = fields.FloatField(null=True)
    version = fields.IntField(default=1)
    created_at = UtcDatetimeField()
    updated_at = UtcDatetimeField()

    class Meta:
        table = "farms"


class Product(Model):
    """What a farm offers. ``price_minor`` counts the currency's minor units (ISO 4217)."""

    id = BinaryUUIDField(primary_key=True)
    sku = fields.CharField(max_length=64)
    name = fields.CharField(max_length=200)
    description = fields.TextField()
    category_id = fields.BigIntField()
    farm_id = fields.BigIntField()
    price_minor = fields.BigIntField()
    currency = fields.CharField(max_length=3)
    unit = fields.CharField(max_length=64)
    stock = fields.IntField()
    attributes: dict[str, Any] = fields.JSONField(default=dict)
    is_active = fields.BooleanField(default=True)
    version = fields.IntField(default=1)
    created_at = UtcDatetimeField()
    updated_at = UtcDatetimeField()

    class Meta:
        table = "products"
