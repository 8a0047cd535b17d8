"""``POST /v1/imports``: a file, taken in as it comes.

Parameters and media type are judged before the body is read, the file while it arrives: what cannot
be read is refused at once, without waiting for the rest, and leaves nothing behind. At most one
batch of chunks is held at a time; while it is stored, the client waits. No more than
``IMPORT_UPLOADS`` are taken in at once; further ones are told to come again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import orjson
from sanic import HTTPResponse

from api.context import Call, Web
from api.endpoint import Route
from api.idempotent import Reply, Store, idempotent
from api.imports.announcing import Announced, announced_by, check_length
from api.imports.arriving import ArrivingBody
from api.imports.options import read_options
from coordination.errors import Conflict, LeaseLost
from models.database import Connection
from models.idempotency import digest_of
from models.imports.chunks import RawChunk
from models.imports.imports import Import
from models.imports.intake import Upload, open_upload
from models.imports.options import ImportOptions
from models.imports.reading import UploadReader
from models.imports.representation import job_view

__all__ = ["ROUTES"]

_BATCH_BYTES: Final = 1024 * 1024
_BATCH_CHUNKS: Final = 16


async def create_import(web: Web, call: Call) -> HTTPResponse:
    """Bring a whole file of products or farms."""
    request, settings = call.request, web.settings
    announced = announced_by(request)
    options = read_options(request.query_string, announced, settings.market_currency)
    check_length(request, settings)
    body = ArrivingBody(request, settings)

    async def effect(store: Store) -> Reply:
        with web.uploads.taken():
            return await _take_in(web, call, options, announced, body, store)

    with body.at_its_own_pace():
        try:
            return await idempotent(web, call, effect, _Keyed(call, announced, body))
        except LeaseLost as lost:
            # Outside of the effect: it is no answer to be given again.
            raise Conflict(str(lost)) from None


class _Keyed:
    """What tells this request from another one: its target and form first, then its bytes."""

    def __init__(self, call: Call, announced: Announced, body: ArrivingBody) -> None:
        request = call.request
        self.digest = digest_of(
            request.method.encode(),
            request.path.encode(),
            request.query_string.encode(),
            f"{announced.media_type} {announced.is_compressed}".encode(),
        )
        self.mark = body.mark
        self.compare = body.compare


async def _take_in(
    web: Web,
    call: Call,
    options: ImportOptions,
    announced: Announced,
    body: ArrivingBody,
    store: Store,
) -> Reply:
    reader = UploadReader(options, web.settings, compressed=announced.is_compressed)
    owner_id = None if call.key is None else call.key.id
    upload = await open_upload(web.resources, options=options, owner_id=owner_id)
    call.log_extra["import"] = str(upload.public_id)
    try:
        await _receive(upload, reader, body)

        async def keep(conn: Connection, accepted: Import) -> None:
            await store(conn, _reply(accepted))

        accepted = await upload.accept(
            layout=reader.layout,
            rows=reader.rows,
            body_bytes=body.size,
            body_digest=body.digest,
            in_transaction=keep,
        )
    except BaseException:
        # Whoever leaves meanwhile must not leave half of it behind.
        await asyncio.shield(upload.abort())
        raise
    call.log_extra.update(rows=reader.rows, bytes=body.size)
    return _reply(accepted)


async def _receive(upload: Upload, reader: UploadReader, body: ArrivingBody) -> None:
    batch = _Batch(upload)
    while piece := await body.next_piece(upload.keep_alive):
        await batch.fill(reader.feed(piece))
        await upload.keep_alive()
    await batch.fill(reader.finish())
    await batch.store()


class _Batch:
    """Chunks on their way to the database, as many as one transaction takes."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._chunks: list[RawChunk] = []
        self._bytes = 0

    async def fill(self, steps: Iterator[RawChunk | None]) -> None:
        """Take what the reader makes of a piece; other requests go on between its steps."""
        for chunk in steps:
            if chunk is None:
                await asyncio.sleep(0)
                continue
            self._chunks.append(chunk)
            self._bytes += len(chunk.text)
            if self._bytes >= _BATCH_BYTES or len(self._chunks) == _BATCH_CHUNKS:
                await self.store()

    async def store(self) -> None:
        """Store what is there."""
        chunks, self._chunks, self._bytes = self._chunks, [], 0
        await self._upload.add(chunks)


def _reply(accepted: Import) -> Reply:
    # The same however often it is made: one goes into the database, one to the client.
    document = job_view(accepted, accepted.accepted_at or accepted.created_at)
    location = {"location": f"/v1/imports/{accepted.public_id}"}
    return Reply(202, orjson.dumps(document), location)


ROUTES: Final = (
    Route("POST", "/v1/imports", create_import, scope="catalog:write", is_streamed=True),
)
