"""What a request says of the file it brings, before a byte of it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sanic import Request

from api.problems import HttpProblem
from coordination.errors import TooLarge
from coordination.settings import Settings
from models.imports.options import FileFormat

__all__ = ["MEDIA_TYPES", "Announced", "announced_by", "check_length"]

_GZIP: Final = "application/gzip"
MEDIA_TYPES: Final[dict[str, FileFormat | None]] = {
    "text/csv": FileFormat.CSV,
    "application/x-ndjson": FileFormat.NDJSON,
    "application/ndjson": FileFormat.NDJSON,
    "application/jsonl": FileFormat.NDJSON,
    _GZIP: None,
}
"""Those that are taken, and the format each tells; a compressed file's type does not."""
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_PLAIN: Final = frozenset({"", "identity"})
_COMPRESSED: Final = frozenset({"gzip", "x-gzip"})  # the same, says RFC 9110


@dataclass(frozen=True, slots=True)
class Announced:
    """``format`` is what the media type tells, if it does."""

    media_type: str
    format: FileFormat | None
    is_compressed: bool


def announced_by(request: Request) -> Announced:
    """Raises 415 for a media type, charset or coding that is not taken."""
    given = request.headers.getall("content-type", [])
    if len(given) != 1:
        raise _unsupported(f"There must be one Content-Type: {', '.join(MEDIA_TYPES)}.")
    media_type, *parameters = (part.strip().lower() for part in given[0].split(";"))
    if media_type not in MEDIA_TYPES:
        raise _unsupported(f"The body must be one of {', '.join(MEDIA_TYPES)}.")
    for parameter in parameters:
        name, _, value = (part.strip(' \t"') for part in parameter.partition("="))
        if name == "charset" and value not in _UTF_8:
            raise _unsupported("The file must be in UTF-8.")
        if name == "header" and value == "absent":
            raise _unsupported("The file must begin with its headings.")
    is_encoded = _is_encoded(request)
    if is_encoded and media_type == _GZIP:
        raise _unsupported("The body must not be compressed twice.")
    return Announced(media_type, MEDIA_TYPES[media_type], is_encoded or media_type == _GZIP)


def _is_encoded(request: Request) -> bool:
    lines = request.headers.getall("content-encoding", [])
    codings = [coding.strip().lower() for line in lines for coding in line.split(",")]
    applied = [coding for coding in codings if coding not in _PLAIN]
    if len(applied) > 1 or not _COMPRESSED.issuperset(applied):
        raise _unsupported("The body's Content-Encoding must be gzip, or none.")
    return bool(applied)


def _unsupported(detail: str) -> HttpProblem:
    accepts = {"accept": ", ".join(MEDIA_TYPES), "accept-encoding": "gzip"}
    return HttpProblem(415, "unsupported-media-type", detail, accepts)


def check_length(request: Request, settings: Settings) -> None:
    """Raises ``TooLarge`` for a body that announces more than ``IMPORT_MAX_BYTES``."""
    announced = request.headers.get("content-length")
    if announced is not None and int(announced) > settings.import_max_bytes:
        raise TooLarge(f"The body must not exceed {settings.import_max_bytes} bytes.")
