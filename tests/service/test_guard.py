"""The gate: who is let in, by which name, from where and how often; what every answer carries."""

import asyncio
import itertools
import re
import warnings

import pytest

from mitsugo.errors import UsageError
from mitsugo.service.guard import GuardOptions, guarded
from mitsugo.service.limits import Limits
from mitsugo.service.policies import policy
from mitsugo.service.problems import Problem
from mitsugo.service.rates import CLIENTS, Rates, client_key
from mitsugo.service.sessions import SESSIONS, token_of

from .conftest import ROUTES, TOKEN

METHODS = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "NONSENSE")
WRONG = [
    [],
    [("Authorization", "")],
    [("Authorization", "Bearer")],
    [("Authorization", "Bearer ")],
    [("Authorization", f"Bearer {TOKEN[:-1]}")],
    [("Authorization", f"Bearer {TOKEN}x")],
    [("Authorization", f"Bearer {TOKEN.upper()}")],
    [("Authorization", f"Basic {TOKEN}")],
    [("Authorization", TOKEN)],
    [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
    [("Authorization", "Bearer \xff")],
    [("Cookie", f"mitsugo={TOKEN}")],
    [("Cookie", "mitsugo=; ; =; a")],
]
RIGHT = [("Authorization", f"Bearer {TOKEN}")]


@pytest.mark.parametrize("headers", WRONG, ids=str)
def test_nobody_without_the_token_reaches_any_route_by_any_method(gate, asked, headers):
    app, guarded = gate(token=TOKEN)
    for method, (_, path) in itertools.product(METHODS, [*ROUTES, ("GET", "/nowhere")]):
        answer = asked(guarded, method, path, headers=headers)
        if (method in {"GET", "HEAD"}) and path == "/health/live":
            assert answer.status in {200, 405}
        else:
            assert answer.status == (401 if method in METHODS[:4] else 405), (method, path)
    assert app.state.went.reached == 1


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_token_opens_every_route(gate, asked, png, form_body, method, path):
    app, guarded = gate(token=TOKEN)
    headers = [*RIGHT, ("Content-Type", "multipart/form-data; boundary=edge")]
    body = [form_body(("image", "a.png", png))] if method == "POST" else []
    assert asked(guarded, method, path, headers=headers, chunks=body).status == 200
    assert app.state.went.reached == (0 if path == "/openapi.json" else 1)


def test_without_a_token_everybody_on_this_machine_may_ask(gate, asked):
    guarded = gate()[1]
    assert asked(guarded, "GET", "/v1/model").status == 200
    assert asked(guarded, "POST", "/login").status == 404


def logged_in(guarded, asked, token=TOKEN, headers=()):
    form = [("Content-Type", "application/x-www-form-urlencoded"), *headers]
    return asked(guarded, "POST", "/login", headers=form, chunks=[b"token=" + token.encode()])


def cookie_of(answer):
    return answer.headers["set-cookie"].partition(";")[0]


def test_a_browser_logs_in_once_and_is_let_in_until_the_session_ends(gate, asked):
    now = [0.0]
    guarded = gate(clock=lambda: now[0], token=TOKEN)[1]
    answer = logged_in(guarded, asked)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"httponly", "samesite=strict", "path=/", "max-age=43200"}
    cookie = [("Cookie", f"other=1; {cookie_of(answer)}")]
    for seconds, status in ((0.0, 200), (43_199.0, 200), (43_200.0, 401)):
        now[0] = seconds
        assert asked(guarded, "GET", "/v1/model", headers=cookie).status == status
    now[0] = 0.0
    assert asked(guarded, "GET", "/v1/model", headers=[*cookie, *cookie]).status == 401
    assert asked(guarded, "GET", "/v1/model", headers=[*cookie, ("Authorization", "Bearer x")]).status == 401
    assert asked(gate(token=TOKEN)[1], "GET", "/v1/model", headers=cookie).status == 401


def test_sessions_are_bounded_and_the_oldest_ends_first(gate, asked):
    guarded = gate(token=TOKEN)[1]
    cookies = [cookie_of(logged_in(guarded, asked)) for _ in range(SESSIONS + 1)]
    assert len(set(cookies)) == SESSIONS + 1
    for cookie, status in ((cookies[0], 401), (cookies[1], 200), (cookies[-1], 200)):
        assert asked(guarded, "GET", "/v1/model", headers=[("Cookie", cookie)]).status == status


def test_under_tls_the_cookie_is_sent_under_tls_only(gate, asked):
    answer = logged_in(gate(token=TOKEN, tls=True)[1], asked)
    assert answer.headers["set-cookie"].startswith("__Host-mitsugo-")
    assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"token=wrong", 401),
        ("application/x-www-form-urlencoded", b"", 401),
        ("application/x-www-form-urlencoded", b"token=%ff%fe", 401),
        ("application/x-www-form-urlencoded", b"token=" + b"x" * 5000, 413),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 9), 400),
        ("application/x-www-form-urlencoded", b"\xff", 400),
        ("application/json", b"{}", 415),
    ],
)
def test_a_login_that_is_none(gate, asked, content_type, body, status):
    answer = asked(
        gate(token=TOKEN)[1], "POST", "/login", headers=[("Content-Type", content_type)], chunks=[body]
    )
    assert answer.status == status
    assert "set-cookie" not in answer.headers


def test_the_login_page_speaks_both_languages_and_loads_nothing(gate, asked):
    guarded = gate(token=TOKEN)[1]
    first, again = asked(guarded, "GET", "/"), logged_in(guarded, asked, "wrong")
    for answer in (first, again):
        page = answer.content.decode()
        assert (answer.status, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert 'action="/login"' in page
        assert "ようこそ" in page
        assert "Welcome" in page
        assert not re.search(r"<script|<link|<img|https?:|\son\w+=|style=\"", page)
        assert answer.headers["cache-control"] == "no-store"
        assert "script-src" not in answer.headers["content-security-policy"]
        assert "form-action 'self'" in answer.headers["content-security-policy"]
    assert "もう一度" not in first.content.decode()
    assert "もう一度" in again.content.decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("inspect.example:8000", 200),
        ("192.0.2.7", 200),
        ("192.0.2.8", 403),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example#localhost", 403),
        ("evil@localhost", 403),
        ("localhost:8000:1", 403),
        ("localhost.", 403),
        ("", 403),
    ],
)
def test_only_by_its_own_names(gate, asked, host, status):
    """192.0.2.7 is where the connection came in: no name can be bound to that."""
    app, guarded = gate(hosts=("Inspect.Example",))
    for path in ("/", "/v1/model", "/health/live"):
        assert asked(guarded, "GET", path, headers=[("Host", host)], server="192.0.2.7").status == status
    assert (app.state.went.reached > 0) == (status == 200)


def test_two_names_are_none(gate, asked):
    headers = [("Host", "localhost"), ("Host", "evil.example")]
    assert asked(gate()[1], "GET", "/", headers=headers).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([("Origin", "http://localhost:8000")], 200),
        ([("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", "same-origin")], 200),
        ([("Origin", "https://localhost:8000")], 200),
        ([("Origin", "http://localhost:8001")], 403),
        ([("Origin", "http://localhost")], 403),
        ([("Origin", "http://evil.example")], 403),
        ([("Origin", "null")], 403),
        ([("Origin", "")], 403),
        ([("Origin", "file://")], 403),
        ([("Origin", "http://[")], 403),
        ([("Origin", "http://localhost:8000@evil.example")], 403),
        ([("Sec-Fetch-Site", "none")], 200),
        ([("Sec-Fetch-Site", "same-site")], 403),
        ([("Sec-Fetch-Site", "cross-site")], 403),
        ([("Origin", "http://localhost:8000"), ("Sec-Fetch-Site", "cross-site")], 403),
    ],
)
def test_another_site_changes_nothing(gate, asked, headers, status):
    app, guarded = gate()
    assert asked(guarded, "DELETE", "/v1/gallery", headers=headers).status == status
    assert app.state.went.reached == (1 if status == 200 else 0)


def test_another_site_reads_nothing_but_may_link_to_the_page(gate, asked):
    guarded = gate()[1]
    cross = [("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.example")]
    assert asked(guarded, "GET", "/v1/model", headers=cross).status == 403
    assert asked(guarded, "GET", "/", headers=cross).status == 200
    assert logged_in(gate(token=TOKEN)[1], asked, headers=cross).status == 403


def test_under_tls_the_origin_speaks_tls(gate, asked):
    guarded = gate(tls=True)[1]
    for scheme, status in (("https", 200), ("http", 403)):
        origin = [("Origin", f"{scheme}://localhost:8000")]
        assert asked(guarded, "DELETE", "/v1/gallery", headers=origin).status == status


def test_no_answer_allows_another_origin_anything(gate, asked):
    guarded = gate(token=TOKEN)[1]
    for headers, (method, path) in itertools.product(([], RIGHT), [*ROUTES, ("OPTIONS", "/v1/model")]):
        origin = [("Origin", "http://localhost:8000"), ("Access-Control-Request-Method", "POST")]
        answer = asked(guarded, method, path, headers=[*headers, *origin])
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_answer_carries_the_headers_that_guard_it(gate, asked):
    guarded = gate(token=TOKEN)[1]
    for headers, (method, path) in itertools.product(([], RIGHT), [*ROUTES, ("GET", "/nowhere")]):
        answer = asked(guarded, method, path, headers=headers)
        found = answer.headers
        assert found["x-content-type-options"] == "nosniff"
        assert found["referrer-policy"] == "same-origin"
        assert found["x-frame-options"] == ("SAMEORIGIN" if path == "/map-frame" else "DENY")
        assert found["cross-origin-opener-policy"] == "same-origin"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert found["permissions-policy"].startswith("camera=(self), microphone=()")
        assert found["content-security-policy"].startswith("default-src 'none'; base-uri 'none'; ")
        assert re.fullmatch(r"[0-9a-f]{32}", found["x-request-id"])
        assert (found.get("cache-control") == "no-store") == (
            path.startswith("/v1/") or (path == "/" and not headers)
        )


def test_the_page_the_frame_and_the_docs_have_their_own_policies(gate, asked):
    guarded = gate()[1]
    policies = {
        path: asked(guarded, "GET", path).headers["content-security-policy"]
        for path in ("/", "/map-frame", "/docs")
    }
    assert policies["/"] == (
        "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; script-src 'self'; "
        "style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; frame-src 'self'; "
        "media-src 'self' blob:"
    )
    assert policies["/map-frame"] == (
        "default-src 'none'; base-uri 'none'; frame-ancestors 'self'; form-action 'none'; "
        "script-src 'self' 'unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; sandbox allow-scripts"
    )
    assert policies["/docs"] == policies["/"].replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")


def test_a_policy_that_the_app_set_itself_stands(asked):
    async def app(scope, receive, send):
        headers = [(b"content-security-policy", b"default-src 'none'"), (b"cache-control", b"max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    answer = asked(guarded(app, GuardOptions()), "GET", "/v1/x")
    assert answer.headers["content-security-policy"] == policy({"default-src": "'none'"})
    assert answer.headers["cache-control"] == "max-age=60"


def test_open_code_asks_for_no_token_and_may_be_loaded_by_the_frame(gate, asked):
    guarded = gate(token=TOKEN, open_paths=("/static/page.js",))[1]
    answer = asked(guarded, "GET", "/static/page.js")
    assert (answer.status, answer.headers["cross-origin-resource-policy"]) == (200, "cross-origin")
    assert asked(guarded, "POST", "/static/page.js").status == 401
    assert asked(guarded, "GET", "/static/page.js/").status == 401


@pytest.mark.parametrize(
    ("own", "is_taken"),
    [
        *(("r-1", True), ("A.b_c-9", True), ("x" * 64, True), ("x" * 65, False), ("", False), ("a b", False)),
        *(("a\r\nb", False), ("<script>", False), ("é", False), ("../x", False)),
    ],
)
def test_a_request_keeps_its_own_id_only_if_it_is_plain(gate, asked, own, is_taken):
    found = asked(gate()[1], "GET", "/", headers=[("X-Request-ID", own)]).headers["x-request-id"]
    assert (found == own) == is_taken
    assert is_taken or re.fullmatch(r"[0-9a-f]{32}", found)


@pytest.mark.parametrize(
    "path",
    [
        b"/static/../secret",
        b"/static/..",
        b"/static/./x",
        b"/static/...",
        b"/static/%2e%2e/secret",
        b"/static/%2E%2e%2fsecret",
        b"/static/..%2fsecret",
        b"/static/%252e%252e/secret",
        b"/static/%25252e%25252e/secret",
        b"/static/%2525252525252e%2e/secret",
        b"/static/..\\secret",
        b"/static/..%5csecret",
        b"/static/%5c%5chost%5cshare",
        b"/static/x%00.png",
        b"/static/%2500",
        b"/static/%0d%0aSet-Cookie",
        b"/static//etc/passwd",
        b"/static/%2fetc/passwd",
        b"//host/share",
        b"/static/C:/secret",
        b"/static/file:///etc/passwd",
        b"http://evil.example/",
        b"file:///etc/passwd",
        b"*",
        b"localhost:80",
        b"",
        b"static",
    ],
)
def test_a_path_that_would_be_another_one_reaches_nothing(gate, asked, path):
    app, guarded = gate()
    assert asked(guarded, "GET", path).status == 400
    assert app.state.went.reached == 0


def test_a_long_path_is_414_and_plain_ones_pass(gate, asked):
    guarded = gate()[1]
    assert asked(guarded, "GET", b"/" + b"a" * 1024).status == 414
    for path in (
        b"/" + b"a" * 1000,
        b"/a.b/c-d",
        b"/%E3%83%8D",
        b"/100%25",
        b"/v1/pictures/7",
        b"/a..b",
        b"/x/",
    ):
        assert asked(guarded, "GET", path).status == 404


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "TRACK", "CONNECT", "PUT", "PATCH", "get", "X" * 99])
def test_other_methods_are_405(gate, asked, method):
    app, guarded = gate()
    answer = asked(guarded, method, "/v1/model")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST, DELETE")
    assert app.state.went.reached == 0


@pytest.mark.parametrize(
    ("value", "status", "length"),
    [
        ("bytes=0-9", 206, 10),
        ("bytes=90-", 206, 10),
        ("bytes=-10", 206, 10),
        ("bytes=100-", 416, None),
        ("bytes=0-9,20-29", 200, 100),
        ("bytes=" + ",".join(f"{n}-" for n in range(2000)), 200, 100),
        ("bytes=" + "0-" * 3000, 200, 100),
        ("bytes=" + "9" * 5000 + "-", 200, 100),
        ("bytes=--1", 200, 100),
        ("bytes=", 200, 100),
        ("lines=1-2", 200, 100),
    ],
)
def test_a_hostile_range_costs_no_more_than_the_file(gate, asked, value, status, length):
    answer = asked(gate()[1], "GET", "/static/page.js", headers=[("Range", value)])
    assert answer.status == status
    assert length in {None, len(answer.content)}


def test_the_rate_is_exact_in_every_minute(gate, asked):
    now = [0.0]
    guarded = gate(clock=lambda: now[0], limits=Limits(rate=5))[1]

    def statuses(times, client="192.0.2.1", path="/"):
        found = []
        for now[0] in times:
            found.append(asked(guarded, "GET", path, client=client).status)
        return found

    assert statuses([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 59.9]) == [200] * 5 + [429] * 2
    refused = asked(guarded, "GET", "/", client="192.0.2.1")
    assert refused.headers["retry-after"] == "1"
    assert statuses([60.0, 60.1, 70.0, 70.1]) == [200, 429, 200, 429]
    assert statuses([70.1] * 6, client="192.0.2.2") == [200] * 5 + [429]
    assert statuses([70.1] * 9, path="/health/live") == [200] * 9


def test_the_wait_that_is_named_is_the_wait_that_is_needed():
    rates = Rates(3)
    assert [rates.wait("a", second) for second in (0.25, 1.0, 2.0)] == [0, 0, 0]
    assert rates.wait("a", 10.0) == 51  # 60.25 - 10 = 50.25, in whole seconds
    assert rates.wait("a", 60.0) == 1
    assert rates.wait("a", 61.0) == 0


def test_the_memory_of_rates_is_bounded():
    rates = Rates(1)
    for number in range(2 * CLIENTS):
        assert rates.wait(str(number), 0.0) == 0
    assert len(rates._accepted) == CLIENTS
    assert Rates(0).wait("a", 0.0) == 0


def test_one_household_is_one_client():
    assert client_key("2001:db8:0:1::5") == client_key("2001:db8:0:1:ffff::") == "2001:db8:0:1::"
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1")
    assert client_key("") == ""
    assert client_key("testclient") == "testclient"


@pytest.mark.parametrize(
    ("headers", "chunks", "status"),
    [
        ([("Content-Length", "1000")], [b"x" * 1000], 200),
        ([("Content-Length", "1001")], [b"x" * 1001], 413),
        ([("Content-Length", "999999999999999")], [], 413),
        ([("Content-Length", "9999999999999999")], [], 400),
        ([("Content-Length", "-1")], [b"x"], 400),
        ([("Content-Length", "1e3")], [b"x"], 400),
        ([("Content-Length", "1"), ("Content-Length", "2")], [b"x"], 400),
        ([("Content-Length", "5")], [b"x" * 1001], 413),
        ([("Transfer-Encoding", "chunked")], [b"x" * 6] * 167, 413),
        ([("Transfer-Encoding", "chunked")], [b"x" * 6] * 166, 200),
        ([], [b"x" * 1001], 413),
    ],
)
def test_a_body_is_counted_whatever_it_says_of_itself(gate, asked, headers, chunks, status):
    guarded = gate(limits=Limits(text_bytes=1000))[1]
    answer = asked(guarded, "POST", "/v1/echo", headers=headers, chunks=chunks)
    assert answer.status == status
    if status == 413 and headers:
        assert answer.headers["connection"] == "close"


def test_all_bodies_together_are_bounded(gate, asked):
    """Held are what is being answered now; once answered they count no more."""
    guarded = gate(limits=Limits(text_bytes=1000, held_bytes=1500))[1]
    guarded._held.now = 501
    answer = asked(guarded, "POST", "/v1/echo", chunks=[b"x" * 1000])
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    guarded._held.now = 500
    for _ in range(3):
        assert asked(guarded, "POST", "/v1/echo", chunks=[b"x" * 1000]).status == 200
    assert guarded._held.now == 500


def test_an_upload_is_read_no_further_than_it_is_good(gate, asked, form_body):
    guarded = gate()[1]
    headers = [("Content-Type", "multipart/form-data; boundary=edge"), ("Transfer-Encoding", "chunked")]
    chunks = [form_body(("image", "a.png", b"%PDF" + bytes(50)), end=False), *[bytes(1000)] * 50]
    answer = asked(guarded, "POST", "/v1/classify", headers=headers, chunks=chunks)
    assert (answer.status, answer.headers["connection"], answer.unread) == (415, "close", 50)


def test_a_client_that_goes_away_is_forgotten(gate, asked, form_body, png):
    guarded = gate()[1]
    headers = [("Content-Type", "multipart/form-data; boundary=edge"), ("Content-Length", "99999")]
    begun = form_body(("image", "a.png", png), end=False)
    for _ in range(20):
        assert (
            asked(guarded, "POST", "/v1/classify", headers=headers, chunks=[begun], gone=True).status == 400
        )
    assert guarded._held.now == 0


def test_a_websocket_is_refused(gate, asked):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(gate()[1]({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_an_app_that_fails_half_way_is_cut_and_one_that_fails_at_once_is_told(asked, caplog):
    async def at_once(scope, receive, send):
        raise RuntimeError("/srv/secret")

    async def half_way(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("/srv/secret")

    answer = asked(guarded(at_once, GuardOptions()), "GET", "/")
    assert answer.status == 500
    assert "secret" not in answer.content.decode()
    with pytest.raises(Problem):
        asked(guarded(half_way, GuardOptions()), "GET", "/")
    assert "/srv/secret" in caplog.text


def test_the_log_has_a_line_a_request_and_never_the_query(gate, asked, caplog):
    caplog.set_level("INFO", "mitsugo.service")
    asked(gate()[1], "GET", "/v1/number", query=b"k=1&secret=2", headers=[("X-Request-ID", "r-9")])
    line = caplog.records[-1].getMessage()
    assert re.fullmatch(r"127\.0\.0\.1 GET /v1/number 200 \d+ ms r-9", line)


def write(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_token_file_holds_one_line(tmp_path):
    assert token_of(write(tmp_path / "t", f"  {TOKEN}\n".encode())) == TOKEN
    assert token_of(write(tmp_path / "t", b"x" * 16)) == "x" * 16
    (tmp_path / "link").symlink_to(tmp_path / "t")
    assert token_of(tmp_path / "link") == "x" * 16


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"x" * 15, "16 to 1024 plain characters"),
        (b"x" * 1025, "16 to 1024 plain characters"),
        (b"one line here\nand another one", "on one line"),
        ("とても秘密のトークンです、本当に".encode(), "plain characters"),
    ],
)
def test_what_is_no_token_is_refused(tmp_path, content, words):
    with pytest.raises(UsageError, match=words) as refused:
        token_of(write(tmp_path / "t", content))
    assert str(refused.value).isprintable()


def test_a_token_file_that_is_none(tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for path in (tmp_path / "gone", tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError):
            token_of(path)


def test_a_token_that_everybody_can_read_is_taken_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="everybody on this machine can read it"):
        assert token_of(write(tmp_path / "t", TOKEN.encode(), 0o644)) == TOKEN
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token_of(write(tmp_path / "t", TOKEN.encode(), 0o640))
