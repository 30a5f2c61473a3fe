"""Paths, methods and headers: well-framed, and wrong or odd."""

import pytest

from tests.e2e.bad_input.raw import PATIENCE_SECONDS, Case, check, check_envelope, check_good
from tests.e2e.gateway import Gateway
from tests.e2e.routes import Route
from tests.e2e.wire import Client, ask

pytestmark = pytest.mark.e2e

WEBSOCKET = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
NOWHERE = "unknown_url"

REQUESTS = [
    Case("an absolute target", (200,), line="POST http://127.0.0.1{path} HTTP/1.1"),
    Case("an absolute target of others", (400,), line="POST http://evil.example{path} HTTP/1.1", code="invalid_host"),
    Case("a query", (200,), line="POST {path}?a=b&c=%ff;d=%0d%0a HTTP/1.1"),
    Case("a fragment", (404,), line="POST {path}#x HTTP/1.1", code=NOWHERE),
    Case("a slash behind", (404,), line="POST {path}/ HTTP/1.1", code=NOWHERE),
    Case("two slashes before", (404,), line="POST /{path} HTTP/1.1", code=NOWHERE),
    Case("two slashes within", (404,), line="POST /v1//responses HTTP/1.1", code=NOWHERE),
    Case("capital letters", (404,), line="POST /V1/RESPONSES HTTP/1.1", code=NOWHERE),
    Case("no version", (404,), line="POST /responses HTTP/1.1", code=NOWHERE),
    Case("another endpoint", (404,), line="POST /v1/embeddings HTTP/1.1", code=NOWHERE),
    Case("an escaped letter", (200,), line="POST /%761{rest} HTTP/1.1"),
    Case("an escaped NUL", (404,), line="POST {path}%00 HTTP/1.1", code=NOWHERE),
    Case("an escaped line", (404,), line="POST {path}%0d%0aX-Evil:%20yes HTTP/1.1", code=NOWHERE),
    Case("an escape that is none", (404,), line="POST {path}%zz HTTP/1.1", code=NOWHERE),
    Case("an escape that is no UTF-8", (404,), line="POST {path}%ff%fe HTTP/1.1", code=NOWHERE),
    Case("up and down again", (404,), line="POST /v1/../v1/responses HTTP/1.1", code=NOWHERE),
    Case("an authority", (404,), line="CONNECT 127.0.0.1:443 HTTP/1.1", code=NOWHERE),
    Case("an asterisk", (404,), line="OPTIONS * HTTP/1.1", code=NOWHERE),
    Case("a model that hides a header", (404,), line="GET /v1/models/%0d%0aSet-Cookie:%20a HTTP/1.1", body=b""),
    Case("a model of no UTF-8", (404,), line="GET /v1/models/%ff%fe HTTP/1.1", body=b"", code="model_not_found"),
    Case("a model elsewhere", (404,), line="GET /v1/models/../../etc/passwd HTTP/1.1", body=b""),
    Case("GET with a body", (405,), line="GET {path} HTTP/1.1", code="method_not_allowed"),
    Case("HEAD", (405,), line="HEAD {path} HTTP/1.1", body=b""),
    Case("HEAD of the models", (200,), line="HEAD /v1/models HTTP/1.1", body=b""),
    Case("OPTIONS", (204,), line="OPTIONS {path} HTTP/1.1", body=b""),
    *(
        Case(method, (405,), line=f"{method} {{path}} HTTP/1.1", code="method_not_allowed")
        for method in ("PUT", "PATCH", "DELETE", "TRACE", "QUERY", "post", "x!#$%&'*+-.^_`|~1")
    ),
    Case("POST to the models", (405,), line="POST /v1/models HTTP/1.1", code="method_not_allowed"),
    Case("a POST that would be a WebSocket", (200,), add=WEBSOCKET),
    Case("a wish for HTTP/2", (200,), add=(b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: AA")),
    Case("no key", (401,), drop=("Authorization",), code="invalid_api_key"),
    *(
        Case(f"Authorization: {value!r}", (401,), drop=("Authorization",), add=(b"Authorization: " + value,))
        for value in (
            b"", b"Bearer", b"Bearer ", b"Bearer  ", b"Basic YTpi", b"Bearer gw-000000000000-x", b"Bearer \xff\xfe",
            b"Bearer " + b"a" * 10000, b"gw-x", b"Bearer a b c", b"Bearer gw--", b"Bearer gw-\xc3\xa9-x",
        )
    ),
    *(
        Case(f"Content-Type: {value!r}", (415,), drop=("Content-Type",), add=(b"Content-Type: " + value,))
        for value in (
            b"", b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x",
            b"multipart/form-data", b"application/jsonx", b"json", b"\xff", b";", b"application/json, text/plain",
        )
    ),
    Case("no Content-Type", (415,), drop=("Content-Type",), code="unsupported_media_type"),
    *(
        Case(f"Content-Type: {value!r}", (200,), drop=("Content-Type",), add=(b"Content-Type: " + value,))
        for value in (b"Application/JSON", b"application/json;charset=utf-8", b'application/json ; charset="latin1"',
                      b"application/vnd.api+json")
    ),
    Case("a form of 8 MB", (415,), drop=("Content-Type",), add=(b"Content-Type: application/x-www-form-urlencoded",),
         body=b"&a" * 4_000_000),
    *(
        Case(f"Content-Encoding: {value!r}", (415,), add=(b"Content-Encoding: " + value,))
        for value in (b"br", b"deflate", b"gzip, gzip", b"zstd", b"\xff", b"gzip;q=1")
    ),
    Case("Content-Encoding: identity", (200,), add=(b"Content-Encoding: identity",)),
    Case("an address that is none", (200,), add=(b"X-Forwarded-For: \xff, 300.1.1.1, ::g",)),
    Case("an origin that is none", (200,), add=(b"Origin: \xff\xfe",)),
    Case("an odd user agent", (200,), add=(b"User-Agent: " + b"\xff" * 3000,)),
    Case("an odd id of the caller's own", (200,), add=(b"X-Request-Id: \xff<script>",)),
    Case("odd wishes for the reply", (200,), add=(b"Accept: none/any", b"Accept-Encoding: br", b"Range: bytes=5-1")),
    Case("conditions", (200,), add=(b"If-Match: \"x\"", b"If-Modified-Since: never")),
    Case("cookies", (200,), add=(b"Cookie: =; a; \"; sessionid=\xff",)),
]  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS, ids=str)
def test_requests(server: Gateway, route: Route, case: Case) -> None:
    whole = case.line.replace("{rest}", route.path.removeprefix("/v1"))
    reply = check(server, route, Case(**{**vars(case), "line": whole}))
    assert reply is not None
    assert "set-cookie" not in reply.headers
    assert "x-evil" not in reply.headers


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses/x", "/v1/nothing", "/elsewhere"])
def test_a_websocket_where_none_is(server: Gateway, path: str) -> None:
    client = Client(server.port, timeout=PATIENCE_SECONDS)
    lines = [f"GET {path} HTTP/1.1".encode(), b"Host: 127.0.0.1", *WEBSOCKET, b"", b""]
    client.socket.sendall(b"\r\n".join(lines))
    assert client.read_until(b"\r\n").split()[1] in (b"401", b"403", b"404", b"405")
    check_good(Client(server.port), server, Route("responses", "/v1/responses", "input"))


@pytest.mark.parametrize("path", ["/readyz", "/metrics", "/nothing"])
def test_a_wrong_host_is_refused_in_our_form_by_django_too(gateway: Gateway, path: str) -> None:
    check_envelope(ask(gateway.port, "GET", path, key=None, headers={"Host": "evil.example"}), "invalid_host")


def test_the_admin_keeps_its_own_pages(server: Gateway) -> None:
    reply = ask(server.port, "GET", "/static/nothing", key=None)
    assert reply.status == 404
    assert ask(server.port, "GET", "/admin/", key=None).status == 302
