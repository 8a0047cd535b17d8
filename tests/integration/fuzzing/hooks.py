"""What Schemathesis cannot learn from the document: ids that exist, and refusals by content.

Loaded by Schemathesis in its own process; the ids come in the environment.
"""

from __future__ import annotations

import os
import re
from typing import Any

import schemathesis

# Requests that are valid by form and refused all the same, by the text of the refusal.
_BY_CONTENT = re.compile(
    r"is not a cursor of this (query|feed)|belongs to another filter or sort"
    r"|there is no such (category|farm)|would make the tree deeper|lies below it"
    r"|must not exceed max_price|relevance needs q|relevance is always desc"
    r"|is not an amount that [A-Z]{3} can express exactly|when the currency changes"
    r"|together with the other coordinate|must stay below 16384 bytes|levels deep"
    r"|This Idempotency-Key came with another request before"
    r"|name either receipts or a filter|must name at least one condition|must not be after until"
    r"|there is no such partner|/filter/state: must be one of"
    r"|is for (JSON|CSV|products) only|contradicts the|must be given with application/gzip"
    r"|is not a field of (products|farms)|has the same heading as|must be at most 4096 bytes"
    r"|a CSV column fills one of them|name one of them, such as|name either farm or"
)
# A file is bytes to the document; whether it can be read is a matter of its content.
_UNREADABLE = re.compile(r"(body|/header|/rows/[0-9]+): ")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Any other type of text is sent as it is; this one only looks like something else.
schemathesis.serializer.alias("application/x-ndjson", "text/plain")


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Keep every failure but a refusal of valid data that its content explains."""
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    detail = str(response.json()["detail"])
    # Where it finds no value for a pattern, Schemathesis sends a zero.
    unfound = detail.startswith("If-Match") and (case.headers or {}).get("If-Match") == "0"
    is_file = case.operation.label == "POST /v1/imports"
    unreadable = is_file and response.status_code == 422 and _UNREADABLE.match(detail)
    return not (unfound or unreadable or _BY_CONTENT.search(detail))


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Make every other valid reference in a body point at something."""
    if not isinstance(body, dict):
        return body
    changed = dict(body)
    if _is_even_id(body.get("farm")):
        changed["farm"] = int(os.environ["FUZZ_FARM"])
    if _is_even_id(body.get("category")):
        changed["category"] = os.environ["FUZZ_CATEGORY"]
    return changed


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """The same for paths; what is deleted is left to chance."""
    if not path_parameters:
        return path_parameters
    method = context.operation.method.upper()
    changed = dict(path_parameters)
    product_id = str(path_parameters.get("product_id"))
    if method != "DELETE" and _UUID.fullmatch(product_id) and product_id[0] in "02468aceACE":
        changed["product_id"] = os.environ["FUZZ_PRODUCT"]
    if method != "DELETE" and _is_even_id(path_parameters.get("farm_id")):
        changed["farm_id"] = int(os.environ["FUZZ_FARM"])
    return changed


def _is_even_id(value: object) -> bool:
    return type(value) is int and value > 0 and value % 2 == 0
