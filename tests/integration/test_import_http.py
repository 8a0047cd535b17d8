"""`/v1/imports` over HTTP: what is taken in, what is refused, and what can be seen of it.

No worker runs: what was accepted stays as it is.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest

from tests.problem_answers import assert_problem
from tests.running_api import RunningApi, running_api
from tests.servers import PrivateRedis, SqlServer

HEADING = b"farm,sku,name,category,price\n"
FILE = HEADING + b'1,EGGS-1,"Eggs, of ducks",eggs,4.50\n1,EGGS-2,More eggs,eggs,5\n'
# The same bytes in each process that collects these tests.
PACKED = gzip.compress(FILE, mtime=0)
LINES = b'{"farm": 1, "sku": "A", "name": "n", "category": "eggs", "price": "1"}\n'
CSV = {"content-type": "text/csv"}
NDJSON = {"content-type": "application/x-ndjson"}
GZIP = {"content-type": "application/gzip"}
UNKNOWN_ID = "0194d9c4-7c00-7b4e-8f2a-3f1c5f0a9e21"


@pytest.fixture(scope="module")
def api(
    mariadb: SqlServer, redis_server: PrivateRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApi]:
    home = tmp_path_factory.mktemp("imports")
    with running_api(mariadb, redis_server, home, IMPORT_MAX_BYTES="20000000") as started:
        yield started


@pytest.fixture(scope="module")
def client(api: RunningApi) -> Iterator[httpx.Client]:
    with api.client(api.key) as opened:
        yield opened


@pytest.fixture
def stored(api: RunningApi, mariadb: SqlServer) -> Iterator[None]:
    """For a test that must leave nothing behind, in any table of imports."""

    def count() -> tuple[int, ...]:
        tables = ("imports", "import_chunks", "import_faults")
        return tuple(
            int(mariadb.rows(f"SELECT COUNT(*) AS n FROM {table}", database=api.database)[0]["n"])
            for table in tables
        )

    before = count()
    yield
    assert count() == before


def refused(
    answer: httpx.Response, status: int, kind: str, place: tuple[str, str] | None = None
) -> str:
    """Assert the problem; returns all that it says."""
    problem = assert_problem(
        answer.status_code,
        answer.headers,
        answer.content,
        expected=status,
        kind=kind,
        place=place,
    )
    details = [error["detail"] for error in problem.get("errors", [])]
    return " ".join([problem["detail"], *details])


def send(
    client: httpx.Client,
    content: bytes = FILE,
    headers: dict[str, str] = CSV,
    **parameters: str | int,
) -> httpx.Response:
    return client.post("/v1/imports", content=content, headers=headers, params=parameters)


def accepted(answer: httpx.Response) -> dict[str, object]:
    assert answer.status_code == 202, answer.text
    job: dict[str, object] = answer.json()
    assert answer.headers["location"] == f"/v1/imports/{job['id']}"
    assert answer.headers["cache-control"] == "no-store"
    return job


def test_a_file_becomes_a_job(client: httpx.Client, api: RunningApi, mariadb: SqlServer) -> None:
    job = accepted(send(client, file_name="eggs.csv", policy="valid"))
    assert UUID(str(job["id"]))
    assert (job["state"], job["into"], job["format"]) == ("validating", "products", "csv")
    assert (job["policy"], job["file_name"], job["bytes"]) == ("valid", "eggs.csv", len(FILE))
    rows = job["rows"]
    assert isinstance(rows, dict)
    assert (rows["total"], rows["checked"]) == (2, 0)
    columns = job["columns"]
    assert isinstance(columns, dict)
    assert columns["mapped"]["sku"] == "sku"
    # What workers take up is what was sent, and the digest is of the bytes as they came.
    chunks = mariadb.rows(
        """SELECT c.payload, c.state, HEX(i.body_digest) AS digest FROM import_chunks c
           JOIN imports i ON i.id = c.import_id WHERE i.public_id = %s""",
        (UUID(str(job["id"])).bytes,),
        database=api.database,
    )
    (chunk,) = chunks
    assert zlib.decompress(chunk["payload"]) == FILE.removeprefix(HEADING)
    assert chunk["state"] == "pending"
    assert chunk["digest"].lower() == hashlib.sha256(FILE).hexdigest()


def test_what_is_asked_for_is_kept_with_it(client: httpx.Client) -> None:
    content = b"Artikel;Sorte;Preis\nE-1;Eier;4,50\n"
    asked: dict[str, str | int] = {
        "mapping": '{"sku": "Artikel", "name": "Sorte", "price": "Preis"}',
        "defaults": '{"category": "eggs"}',
        "farm": 1,
        "decimal": "comma",
    }
    job = accepted(send(client, content, CSV, **asked))
    columns = job["columns"]
    assert isinstance(columns, dict)
    assert columns["mapped"] == {"sku": "Artikel", "name": "Sorte", "price": "Preis"}


@pytest.mark.parametrize(
    ("headers", "content", "asked"),
    [
        ({"content-type": "text/csv; charset=utf-8; header=present"}, FILE, {}),
        ({"content-type": 'TEXT/CSV; charset="UTF-8"'}, FILE, {}),
        ({**CSV, "content-encoding": "identity"}, FILE, {}),
        ({**CSV, "content-encoding": "gzip"}, PACKED, {}),
        (GZIP, PACKED, {"format": "csv"}),
        (GZIP, gzip.compress(LINES, mtime=0), {"format": "ndjson"}),
        (NDJSON, LINES, {}),
        ({"content-type": "application/ndjson"}, LINES, {}),
        ({"content-type": "application/jsonl"}, LINES, {"format": "ndjson"}),
        ({**NDJSON, "content-encoding": "gzip"}, gzip.compress(LINES, mtime=0), {}),
        (CSV, b"\xef\xbb\xbf" + FILE, {}),
    ],
    ids=repr,
)
def test_forms_that_are_taken(
    client: httpx.Client, headers: dict[str, str], content: bytes, asked: dict[str, str]
) -> None:
    job = accepted(send(client, content, headers, **asked))
    assert job["bytes"] == len(content)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    "headers",
    [
        *({"content-type": v} for v in ("", "text/plain", "application/json", "text/csvx", "*/*")),
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "text/csv; charset=iso-8859-1"},
        {"content-type": "text/csv; header=absent"},
        *({**CSV, "content-encoding": v} for v in ("br", "gzip, gzip", "deflate", "zstd")),
        {**GZIP, "content-encoding": "gzip"},
    ],
    ids=repr,
)
def test_forms_that_are_not_taken(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = send(client, FILE, headers, format="csv")
    refused(answer, 415, "unsupported-media-type")
    assert "text/csv" in answer.headers["accept"]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("nope=1", "nope"),
        ("policy=all&policy=valid", "policy"),
        ("into=animals", "into"),
        ("format=ndjson", "format"),
        ("delimiter=;", "delimiter"),
        ("currency=XXX", "currency"),
        ("farm=0", "farm"),
        ("mapping=sku", "mapping"),
        ('mapping={"no":"x"}', "mapping"),
        ("defaults=[]", "defaults"),
        ("file_name=%00", "file_name"),
        ("file_name=%ff", "query"),
    ],
)
def test_a_wrong_parameter_is_refused_before_the_body_is_read(
    client: httpx.Client, query: str, name: str
) -> None:
    answer = client.post(f"/v1/imports?{query}", content=b"\0", headers=CSV)
    refused(answer, 400, "invalid-request", ("parameter", name))


@pytest.mark.usefixtures("stored")
def test_a_key_with_the_scope_is_needed(api: RunningApi) -> None:
    requests = [
        ("POST", "/v1/imports"),
        ("GET", "/v1/imports"),
        ("GET", f"/v1/imports/{UNKNOWN_ID}"),
        ("DELETE", f"/v1/imports/{UNKNOWN_ID}"),
        ("GET", f"/v1/imports/{UNKNOWN_ID}/errors"),
    ]
    for key, status, kind in ((None, 401, "unauthorized"), (api.reader_key, 403, "forbidden")):
        with api.client(key) as other:
            for method, path in requests:
                body = {"content": FILE, "headers": CSV} if method == "POST" else {}
                refused(other.request(method, path, **body), status, kind)  # type: ignore[arg-type]


BOMB = gzip.compress(HEADING + b"0" * 15_000_000)
NASTY = [
    (b"", CSV, 422, ("pointer", "")),
    (HEADING, CSV, 422, ("pointer", "")),
    (b"a,b\n1,2\n", CSV, 422, ("pointer", "/header")),
    ((HEADING + b"1,A,K\xe4se,eggs,1\n"), CSV, 422, ("pointer", "/rows/2")),
    (FILE.decode().encode("utf-16"), CSV, 422, ("pointer", "")),
    (HEADING + b"1,A," + b"x" * 10_000_000, CSV, 422, ("pointer", "/rows/2")),
    (HEADING + b'1,A,"never closed,eggs,1\n' + b"1,B,b,eggs,1\n" * 20_000, CSV, 422, None),
    (b"PK\x03\x04" + bytes(2_000), CSV, 422, ("pointer", "")),
    (PACKED, CSV, 422, ("pointer", "")),
    (PACKED[:-9], {**CSV, "content-encoding": "gzip"}, 422, ("pointer", "")),
    (FILE, {**CSV, "content-encoding": "gzip"}, 422, ("pointer", "")),
    (BOMB, {**CSV, "content-encoding": "gzip"}, 422, None),
    (b"[1]\n", NDJSON, 422, None),
]


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("content", "headers", "status", "place"), NASTY, ids=[str(n) for n in range(len(NASTY))]
)
def test_a_file_that_cannot_be_read_leaves_nothing(
    client: httpx.Client,
    content: bytes,
    headers: dict[str, str],
    status: int,
    place: tuple[str, str] | None,
) -> None:
    refused(send(client, content, headers), status, "invalid-body", place)


@pytest.mark.usefixtures("stored")
def test_a_body_beyond_the_limit(client: httpx.Client) -> None:
    """At once where the length is announced, as soon as it is passed where it is not."""
    rows = (b"1,A," + b"name" * 50 + b",eggs,1\n") * 100

    def pieces() -> Iterator[bytes]:
        yield HEADING
        for _ in range(1_000):
            yield rows

    said = client.post("/v1/imports", content=HEADING + b"0" * 20_000_001, headers=CSV)
    assert "20000000 bytes" in refused(said, 413, "too-large")
    unsaid = client.post("/v1/imports", content=pieces(), headers=CSV)
    assert "20000000 bytes" in refused(unsaid, 413, "too-large")
    unpacked = gzip.compress(HEADING + rows * 1_000, 1)
    packed = send(client, unpacked, {**CSV, "content-encoding": "gzip"})
    assert "20000000 bytes" in refused(packed, 413, "too-large")


def test_the_body_may_exceed_what_others_may(client: httpx.Client) -> None:
    content = HEADING + b"".join(b"1,S-%d,%s,eggs,1\n" % (n, b"n" * 90) for n in range(15_000))
    assert len(content) > 1_048_576
    job = accepted(send(client, content))
    rows = job["rows"]
    assert isinstance(rows, dict)
    assert rows["total"] == 15_000


def test_the_list(client: httpx.Client) -> None:
    ids = [accepted(send(client))["id"] for _ in range(3)]
    page = client.get("/v1/imports", params={"limit": 2})
    assert [job["id"] for job in page.json()["data"]] == [ids[2], ids[1]]
    assert page.headers["cache-control"] == "no-store"
    following = page.headers["link"].partition(">")[0].lstrip("<")
    assert client.get(following).json()["data"][0]["id"] == ids[0]
    cursor = page.json()["page"]["next_cursor"]
    other = client.get("/v1/imports", params={"state": "applying", "cursor": cursor})
    refused(other, 400, "invalid-cursor", ("parameter", "cursor"))
    states = {
        job["state"]
        for job in client.get("/v1/imports", params={"state": "validating"}).json()["data"]
    }
    assert states == {"validating"}
    assert client.get("/v1/imports", params={"state": "completed"}).json()["data"] == []
    wrong = client.get("/v1/imports", params={"state": "done", "nope": 1})
    refused(wrong, 400, "invalid-request", ("parameter", "state"))


def test_methods_beside_the_streamed_one(client: httpx.Client, api: RunningApi) -> None:
    """GET shares POST's path, whose body is not read beforehand."""
    assert client.head("/v1/imports").status_code == 200
    for size in (0, 10, 100_000):
        answer = client.request("GET", "/v1/imports", content=b"x" * size)
        assert answer.status_code == 200
    refused(
        client.request("GET", "/v1/imports", content=b"x" * 1_048_577), 413, "content-too-large"
    )
    refused(client.put("/v1/imports", content=b"x" * 10), 405, "method-not-allowed")
    assert client.get("/v1/imports").status_code == 200
    assert "body not consumed" not in api.process.last_words()


def test_one_job(client: httpx.Client) -> None:
    job = accepted(send(client))
    path = f"/v1/imports/{job['id']}"
    answer = client.get(path)
    assert answer.json()["id"] == job["id"]
    assert client.get(path, headers={"if-none-match": "*"}).status_code == 304
    for other in (path, path + "/errors"):
        refused(client.get(other, params={"x": 1}), 400, "invalid-request", ("parameter", "x"))
    for end in ("", "/errors"):
        refused(client.get(f"/v1/imports/{UNKNOWN_ID}{end}"), 404, "not-found")
        wrong = client.get(f"/v1/imports/x{end}")
        refused(wrong, 400, "invalid-request", ("parameter", "import_id"))


def test_cancelling(client: httpx.Client, api: RunningApi, mariadb: SqlServer) -> None:
    job = accepted(send(client))
    path = f"/v1/imports/{job['id']}"
    for _ in range(2):
        answer = client.delete(path)
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
        assert answer.json()["id"] == job["id"]
    mariadb.execute(
        "UPDATE imports SET stage = 'completed', state = 'done' WHERE public_id = %s",
        (UUID(str(job["id"])).bytes,),
        database=api.database,
    )
    refused(client.delete(path), 409, "conflict")
    refused(client.delete(f"/v1/imports/{UNKNOWN_ID}"), 404, "not-found")
    wrong = client.delete("/v1/imports/x")
    refused(wrong, 400, "invalid-request", ("parameter", "import_id"))


@pytest.fixture(scope="module")
def faulty(client: httpx.Client, api: RunningApi, mariadb: SqlServer) -> str:
    """The path of an import whose rows have faults."""
    job = accepted(send(client))
    found = mariadb.rows(
        "SELECT id FROM imports WHERE public_id = %s",
        (UUID(str(job["id"])).bytes,),
        database=api.database,
    )
    kept = [
        (3, "price", "is not an amount", "=1+1"),
        (2, "", "is repeated", None),
        (4, "-name", "is empty,\nor so", '@SUM("A1")'),
        *((n, "sku", "is too long", "é") for n in range(5, 2_505)),
    ]
    marks = ", ".join(["(%s, %s, %s, %s, %s)"] * len(kept))
    mariadb.execute(
        "INSERT INTO import_faults (import_id, file_row, column_name, reason, value)"
        f" VALUES {marks}",
        [value for fault in kept for value in (found[0]["id"], *fault)],
        database=api.database,
    )
    return f"/v1/imports/{job['id']}/errors"


def test_errors_come_in_pages(client: httpx.Client, faulty: str) -> None:
    page = client.get(faulty, params={"limit": 3})
    assert page.json()["data"] == [
        {"row": 2, "column": "", "reason": "is repeated", "value": None},
        {"row": 3, "column": "price", "reason": "is not an amount", "value": "=1+1"},
        {"row": 4, "column": "-name", "reason": "is empty,\nor so", "value": '@SUM("A1")'},
    ]
    following = page.headers["link"].partition(">")[0].lstrip("<")
    assert client.get(following).json()["data"][0]["row"] == 5
    other = accepted(send(client))
    cursor = page.json()["page"]["next_cursor"]
    elsewhere = client.get(f"/v1/imports/{other['id']}/errors", params={"cursor": cursor})
    refused(elsewhere, 400, "invalid-cursor", ("parameter", "cursor"))
    assert client.get(f"/v1/imports/{other['id']}/errors").json()["data"] == []


def test_errors_as_a_file(client: httpx.Client, faulty: str) -> None:
    """Whatever a farmer's file held, opening its errors runs nothing."""
    answer = client.get(faulty, params={"format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"].startswith('attachment; filename="import-')
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    assert rows[0] == ["row", "column", "reason", "value"]
    assert rows[1:4] == [
        ["2", "", "is repeated", ""],
        ["3", "price", "is not an amount", "'=1+1"],
        ["4", "'-name", "is empty,\nor so", '\'@SUM("A1")'],
    ]
    assert len(rows) == 1 + 3 + 2_500
    assert rows[-1] == ["2504", "sku", "is too long", "é"]
    head = client.head(faulty, params={"format": "csv"})
    assert head.headers["content-length"] == answer.headers["content-length"]
    for name in ("limit", "cursor"):
        both = client.get(faulty, params={"format": "csv", name: "1"})
        refused(both, 400, "invalid-request", ("parameter", name))
    wrong = client.get(faulty, params={"format": "xlsx"})
    refused(wrong, 400, "invalid-request", ("parameter", "format"))


def keyed(headers: dict[str, str] = CSV) -> dict[str, str]:
    return {**headers, "idempotency-key": f'"{uuid4()}"'}


def test_a_repeated_upload_gets_the_first_answer(client: httpx.Client) -> None:
    headers = keyed()
    first, again = send(client, headers=headers), send(client, headers=headers)
    accepted(first)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert set(again.headers) - {"idempotent-replayed"} == set(first.headers)


@pytest.mark.parametrize(
    "content",
    [FILE + b"1,C,c,eggs,1\n", FILE[:-1], FILE[:-2] + b"6\n", b""],
    ids=["longer", "shorter", "other", "empty"],
)
def test_a_key_with_another_file_is_refused(client: httpx.Client, content: bytes) -> None:
    headers = keyed()
    accepted(send(client, headers=headers))
    refused(send(client, content, headers), 422, "idempotency-key-reused")
    assert send(client, headers=headers).headers["idempotent-replayed"] == "true"


def test_a_key_with_other_parameters_is_refused(client: httpx.Client) -> None:
    headers = keyed()
    accepted(send(client, headers=headers))
    refused(send(client, headers=headers, policy="valid"), 422, "idempotency-key-reused")
    packed = {**headers, "content-encoding": "gzip"}
    refused(send(client, PACKED, packed), 422, "idempotency-key-reused")
    other = client.post(
        "/v1/farms", json={"name": "n"}, headers={**headers, "content-type": "application/json"}
    )
    assert other.status_code == 422


def test_a_refused_file_is_refused_again(client: httpx.Client) -> None:
    """By what was read of it: a file that begins so is refused so, however it goes on."""
    headers = keyed()
    wrong = b"a,b\n" + b"1,2\n" * 200_000
    first = send(client, wrong, headers)
    refused(first, 422, "invalid-body", ("pointer", "/header"))
    again = send(client, wrong, headers)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    refused(send(client, FILE, headers), 422, "idempotency-key-reused")
    cut = send(client, PACKED[:-9], zipped := keyed({**CSV, "content-encoding": "gzip"}))
    refused(cut, 422, "invalid-body", ("pointer", ""))
    refused(send(client, PACKED, zipped), 422, "idempotency-key-reused")


def test_a_refused_request_does_not_use_the_key_up(client: httpx.Client) -> None:
    headers = keyed()
    refused(send(client, headers=headers, policy="x"), 400, "invalid-request")
    refused(
        send(client, FILE, {**headers, "content-type": "text/html"}), 415, "unsupported-media-type"
    )
    refused(send(client, b"0" * 20_000_001, headers), 413, "too-large")
    accepted(send(client, headers=headers))


def test_a_malformed_key(client: httpx.Client) -> None:
    answer = send(client, headers={**CSV, "idempotency-key": "a b"})
    refused(answer, 400, "invalid-request", ("header", "Idempotency-Key"))


def test_an_upload_counts_against_the_limit(client: httpx.Client) -> None:
    """Taken in or refused."""
    left = []
    for content in (FILE, b"", FILE):
        limit = send(client, content).headers["ratelimit"]
        left.append(int(limit.partition("r=")[2].partition(";")[0]))
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == 3
