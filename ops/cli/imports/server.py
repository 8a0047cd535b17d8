"""The API as `farmlokal import` asks it: every request has timeouts, every answer a bound.

What the API refuses is ``Refused``, with its own words for each fault; what may work later is
``Unavailable``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID

import httpx
import orjson
from pydantic import TypeAdapter, ValidationError

from coordination.errors import FarmLokalError, FieldError, InvalidInput, Unavailable
from models.imports.row_values import RowFault
from ops.cli.imports.job import Job

__all__ = ["ImportServer", "NotReached", "Refused", "StillRunning", "TryLater"]

_PATH: Final = "/v1/imports"
_TIMEOUT: Final = httpx.Timeout(10.0)
# The API answers once the whole file is stored.
_UPLOAD_TIMEOUT: Final = httpx.Timeout(10.0, read=120.0, write=60.0)
_MOST_BYTES: Final = 1_048_576
_MOST_FAULTS: Final = 20
_LONGEST_WAIT_S: Final = 60.0
_LATER: Final = frozenset({408, 425, 429})
_IN_PROGRESS: Final = "request-in-progress"
_FAULTS: Final = TypeAdapter(list[RowFault])
_OPTIONS: Final = {
    "mapping": "--column",
    "defaults": "--default",
    "file_name": "FILE",
}


class Refused(FarmLokalError):
    """The API does not take it as it is. ``faults`` are lines for people."""

    def __init__(self, status: int, text: str, faults: tuple[str, ...] = ()) -> None:
        self.status = status
        self.faults = faults
        super().__init__(text)


class NotReached(Unavailable):
    """Nothing was sent: there is no connection."""


class TryLater(Unavailable):
    """The API cannot do it now."""

    def __init__(self, text: str, wait_s: float) -> None:
        self.wait_s = wait_s
        super().__init__(text)


class StillRunning(TryLater):
    """An earlier request with the same key has not come to its end."""


class ImportServer:
    """One API at ``url``, asked with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        # The proxies of the environment are for the outside; it is our own API that is asked.
        self._client = httpx.Client(
            timeout=_TIMEOUT,
            trust_env=False,
            headers={"authorization": f"Bearer {key}", "accept": "application/json"},
        )

    def close(self) -> None:
        """Close its connections. May be called twice."""
        self._client.close()

    def post(
        self, query: Mapping[str, str], headers: Mapping[str, str], pieces: Iterator[bytes]
    ) -> Job:
        """Upload a file. Raises ``Refused``, ``Unavailable``, and whatever ``pieces`` raises."""
        answer = self._ask(
            "POST", "", query, headers=dict(headers), content=pieces, timeout=_UPLOAD_TIMEOUT
        )
        return self._job(answer)

    def job(self, import_id: UUID) -> Job:
        """How an import stands. Raises ``Refused`` and ``Unavailable``."""
        return self._job(self._ask("GET", f"/{import_id}", {}))

    def faults(self, import_id: UUID, limit: int) -> list[RowFault]:
        """The first faults of its rows. Raises ``Refused`` and ``Unavailable``."""
        answer = self._ask("GET", f"/{import_id}/errors", {"limit": str(limit)})
        try:
            return _FAULTS.validate_python(answer["data"])
        except (KeyError, ValidationError):
            raise self._senseless() from None

    def _job(self, answer: dict[str, Any]) -> Job:
        try:
            return Job.of(answer)
        except ValidationError:
            raise self._senseless() from None

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], **request: Any
    ) -> dict[str, Any]:
        try:
            with self._client.stream(
                method, f"{self.url}{_PATH}{path}", params=dict(query), **request
            ) as answer:
                document = _document(answer)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise InvalidInput([FieldError("parameter", "--url", str(error))]) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotReached(f"Nothing answers at {self.url}.") from error
        except httpx.RequestError as error:
            text = f"{self.url} gave no answer: {str(error) or type(error).__name__}."
            raise Unavailable(text) from error
        if answer.is_success and document is not None:
            return document
        if answer.is_success:
            raise self._senseless()
        raise _fault(answer, document or {})

    def _senseless(self) -> Unavailable:
        return Unavailable(f"What answers at {self.url} makes no sense as this API.")


def _document(answer: httpx.Response) -> dict[str, Any] | None:
    body = b""
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > _MOST_BYTES:
            return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _fault(answer: httpx.Response, problem: dict[str, Any]) -> FarmLokalError:
    status = answer.status_code
    errors = problem.get("errors")
    faults = [_line(error) for error in errors if isinstance(error, dict)] if errors else []
    detail = problem.get("detail") or problem.get("title") or answer.reason_phrase
    # The detail of a problem that names its faults says the same again.
    said = str(problem.get("title") or detail) if faults else str(detail)
    said = said.rstrip(".")
    if status == 409 and str(problem.get("type", "")).endswith(_IN_PROGRESS):
        return StillRunning(f"The API is still at the first upload: {said}.", _wait_s(answer))
    if status >= 500 or status in _LATER:
        return TryLater(f"The API cannot do it now ({status}): {said}.", _wait_s(answer))
    shown = faults[:_MOST_FAULTS]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown):,} more")
    return Refused(status, f"Refused ({status}): {said}.", tuple(shown))


def _wait_s(answer: httpx.Response) -> float:
    given = answer.headers.get("retry-after", "")
    return min(float(given), _LONGEST_WAIT_S) if given.isascii() and given.isdigit() else 0.0


def _line(error: dict[str, Any]) -> str:
    """``row 17: …``, ``--delimiter: …`` and the like."""
    detail = error.get("detail")
    if "parameter" in error:
        name = str(error["parameter"])
        return f"{_OPTIONS.get(name, '--' + name.replace('_', '-'))}: {detail}"
    if "header" in error:
        return f"header {error['header']}: {detail}"
    return f"{_place(str(error.get('pointer', '')))}: {detail}"


def _place(pointer: str) -> str:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    if not parts:
        return "the file"
    if parts[0] == "header":
        return ", ".join(["the heading", *parts[1:]])
    if parts[0] == "rows" and len(parts) > 1:
        return ", ".join([f"row {parts[1]}", *parts[2:]])
    return pointer
