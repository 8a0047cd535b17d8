"""The feed's cursors: there and back, and nobody else's."""

from __future__ import annotations

from uuid import UUID

import pytest

from coordination.errors import InvalidCursor
from models.catalog.cursors import digest_of, sign_cursor
from models.feed import cursors
from models.feed.cursors import Place

SECRET = "s" * 32


@pytest.mark.parametrize(
    "place", [Place(0), Place(2**62), Place(7, UUID(int=0)), Place(7, UUID(int=5))]
)
def test_a_place_survives_its_cursor_and_a_new_secret(place: Place) -> None:
    cursor = cursors.since(place, [SECRET])
    assert cursors.place_of(cursor, ["x" * 32, SECRET]) == place


def test_cursors_of_others_are_refused_by_the_name_of_the_parameter() -> None:
    cursor = cursors.since(Place(5), [SECRET])
    foreign = sign_cursor(digest_of(b"/v1/products"), ("a", "b"), [SECRET])
    for wrong in ("A" + cursor, cursor[:-1], "now", "", foreign):
        with pytest.raises(InvalidCursor) as caught:
            cursors.place_of(wrong, [SECRET])
        assert caught.value.errors[0].name == "since"
