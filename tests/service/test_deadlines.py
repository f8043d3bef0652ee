"""Connections that make no whole request in time, and those that do not take their answer."""

import contextlib
import json
import socket
import threading
import time

import pytest

from mitsugo.service import deadlines

GET = b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\n\r\n"
BEGUN = b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
POST = (
    b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
)
ECHO = b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\n"
ALIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
SHORT = {"header_seconds": 0.4, "body_seconds": 0.7, "idle_seconds": 1.0}


def opened(port, content=b""):
    wire = socket.create_connection(("127.0.0.1", port), timeout=10)
    wire.sendall(content)
    return wire


def rest_of(wire):
    """Return all that still comes, and after how many seconds the connection was closed."""
    began, got = time.monotonic(), b""
    with contextlib.suppress(ConnectionError):
        while piece := wire.recv(65536):
            got += piece
    wire.close()
    return got, time.monotonic() - began


def one_answer(wire):
    """Return an answer whose body is a JSON object, and leave the connection open."""
    got = b""
    while not got.endswith(b"}"):
        got += wire.recv(65536)
    return got


def status_of(answer):
    return int(answer.split(b" ", 2)[1]) if answer else None


def trickled(wire, seconds):
    """Send a byte every 0.1 s; return when the other side closed, or None."""
    wire.settimeout(0.1)
    began = time.monotonic()
    with wire:
        while time.monotonic() - began < seconds:
            try:
                wire.sendall(b"x")
                if not wire.recv(65536):
                    return time.monotonic() - began
            except TimeoutError:
                continue
            except ConnectionError:
                return time.monotonic() - began
    return None


def test_headers_that_do_not_come_are_answered_408_and_nothing_at_all_with_nothing(served):
    with served(**SHORT) as server:
        silent, begun = opened(server.port), opened(server.port, BEGUN)
        (nothing, _), (answer, seconds) = rest_of(silent), rest_of(begun)
    assert nothing == b""
    assert status_of(answer) == 408
    assert seconds < 2
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["detail"] == "the headers did not arrive in time"


def test_a_trickle_extends_no_deadline(served):
    with served(**SHORT) as server:
        headers = opened(server.port, BEGUN)
        body = opened(server.port, POST + b"Content-Length: 1000000\r\n\r\n--edge\r\n")
        found = [None, None]

        def trickle(number, wire):
            found[number] = trickled(wire, 8)

        threads = [threading.Thread(target=trickle, args=pair) for pair in enumerate((headers, body))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 0.3 < found[0] < 2.5
    assert 0.5 < found[1] < 3.0


def test_a_body_that_does_not_come_is_answered_408(served):
    with served(**SHORT) as server:
        wire = opened(server.port, POST + b"Content-Length: 100\r\n\r\n--edge\r\n")
        answer, seconds = rest_of(wire)
        assert status_of(answer) == 408
        assert 0.5 < seconds < 2.5
        assert server.app.state.went.reached == 0


def test_a_connection_is_kept_for_the_next_request_and_no_longer(served):
    with served(**SHORT) as server:
        wire = opened(server.port)
        for _ in range(2):
            wire.sendall(GET)
            assert status_of(one_answer(wire)) == 200
            time.sleep(0.6)  # longer than headers may take, shorter than idling
        idle = opened(server.port, GET)
        assert status_of(one_answer(idle)) == 200
        since = time.monotonic()
        wire.sendall(BEGUN)  # the deadline is that of this request alone
        answer, seconds = rest_of(wire)
        assert status_of(answer) == 408
        assert 0.3 < seconds < 2
        answer, _ = rest_of(idle)
        assert answer == b""
        assert 0.8 < time.monotonic() - since < 2.5


def test_a_rest_of_a_body_that_nobody_reads_is_not_waited_for(served):
    """The 404 comes at once; the connection ends, and does not idle for the bytes that never come."""
    with served(**SHORT) as server:
        wire = opened(server.port, b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        answer, seconds = rest_of(wire)
        assert status_of(answer) == 404
        assert b"connection: close" in answer.lower()
        assert seconds < 1.5


def test_an_answer_that_is_not_taken_ends(served, until, monkeypatch):
    """A megabyte, of which the buffers between take some; the client reads none of it."""
    monkeypatch.setattr(deadlines, "FLUSH_SECONDS", 0.5)
    with served(taking_seconds=0.5) as server:
        wire = socket.socket()
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect(("127.0.0.1", server.port))
        wire.sendall(b"GET /v1/late HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
        until(lambda: server.server_state.connections)
        until(lambda: not server.server_state.connections, 4)
        wire.close()


def test_two_requests_at_once_are_answered_in_turn(served):
    with served(**SHORT) as server:
        wire = opened(server.port, GET * 3)
        answer, seconds = rest_of(wire)
        assert answer.count(b"HTTP/1.1 200") == 3
        assert 0.8 < seconds < 3


NONSENSE = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "no target": b"GET\r\n\r\n",
    "no version": b"GET / HTTP/x\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a length of letters": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "NUL in the target": b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    "a long line": b"x" * 200_000,
}


def test_what_is_no_http_is_400_and_closed(served):
    """All of it at one time, as each is let finish its sentence for half a second before it is closed."""
    with served(**SHORT) as server:
        wires = {name: opened(server.port) for name in NONSENSE}
        for name, wire in wires.items():
            with contextlib.suppress(ConnectionError):
                wire.sendall(NONSENSE[name])
        answers = {name: rest_of(wire)[0] for name, wire in wires.items()}
        assert {name: status_of(answer) for name, answer in answers.items()} == dict.fromkeys(NONSENSE, 400)
        assert not any(b"h11" in answer for answer in answers.values())
        assert status_of(rest_of(opened(server.port, ALIVE))[0]) == 200


def test_a_broken_chunk_while_the_app_reads_ends_the_request(served, said):
    with served(**SHORT) as server:
        answer = said(server.port, ECHO + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
        assert status_of(answer) == 400


def test_tiny_chunks_are_refused_before_they_cost_anything(served, said):
    """1,000 are free; beyond, 256 bytes a chunk on average."""
    head = ECHO + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with served() as server:
        few = said(server.port, head + b"1\r\nx\r\n" * 900 + b"0\r\n\r\n")
        many = said(server.port, head + b"6\r\nxxxxxx\r\n" * 2000 + b"0\r\n\r\n")
        large = said(server.port, head + (b"400\r\n" + b"x" * 1024 + b"\r\n") * 900 + b"0\r\n\r\n")
    assert (status_of(few), status_of(many), status_of(large)) == (200, 413, 200)
    assert b"too many tiny chunks" in many


@pytest.mark.parametrize("length", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
def test_an_endless_body_is_answered_413_and_the_answer_arrives(served, length):
    """The client goes on sending for as long as it can, as browsers do, and still gets to read why not."""
    with served(body_bytes=1 << 20, image_bytes=1 << 20) as server:
        wire = opened(server.port, POST + length + b"\r\n\r\n")
        is_chunked = length.startswith(b"Transfer")
        piece = b"10000\r\n" + bytes(65536) + b"\r\n" if is_chunked else bytes(65536)
        first = b"--edge\r\nContent-Disposition: form-data; name=note; filename=a\r\n\r\n"
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            wire.sendall(b"%x\r\n%s\r\n" % (len(first), first) if is_chunked else first)
            while time.monotonic() - began < 0.3:
                wire.sendall(piece)
        answer, _ = rest_of(wire)
        assert status_of(answer) in {413, 422}
        assert time.monotonic() - began < 2
        assert b"connection: close" in answer.lower()


def test_whoever_waits_for_leave_to_send_is_told_no_first(served, said):
    with served() as server:
        head = POST + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
        answer = said(server.port, head)
    assert status_of(answer) == 413
    assert b"100 Continue" not in answer


def test_beyond_the_number_of_connections_the_longest_wait_ends(served, until):
    with served(connections=5, header_seconds=5.0) as server:
        wires = []
        for number in range(5):
            wires.append(opened(server.port, BEGUN))
            until(lambda count=number + 1: len(server.server_state.connections) == count)
        newest = opened(server.port, GET)
        assert status_of(newest.recv(65536)) == 200
        assert rest_of(wires[0])[1] < 1
        wires[4].sendall(b"x\r\n\r\n")
        assert status_of(wires[4].recv(65536)) == 200
        for wire in (*wires, newest):
            wire.close()


def test_where_every_connection_is_at_work_the_next_is_503(served, until):
    with served(connections=2) as server:
        busy = [opened(server.port, b"GET /v1/slow HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(2)]
        until(lambda: server.app.state.went.reached == 2)
        answer, _ = rest_of(opened(server.port))
        assert status_of(answer) == 503
        assert b"retry-after: 5" in answer.lower()
        server.app.state.went.hold.set()
        assert [status_of(wire.recv(65536)) for wire in busy] == [200, 200]
        for wire in busy:
            wire.close()


def test_a_client_that_goes_away_leaves_no_connection_and_no_task(served, until, form_body, png):
    begun = form_body(("image", "a.png", png), end=False)
    with served() as server:
        for _ in range(50):
            opened(server.port, POST + b"Content-Length: 100000\r\n\r\n" + begun).close()
        until(lambda: not server.server_state.connections and not server.server_state.tasks)


def besieged(server, number, until):
    """Open so many slow connections of three kinds, and measure /health/live until all of them are gone."""
    kinds = (BEGUN, POST + b"Content-Length: 9999\r\n\r\n--", b"")
    wires = [opened(server.port, kinds[count % 3]) for count in range(number)]
    began, times = time.monotonic(), []
    until(lambda: len(server.server_state.connections) >= number)
    while server.server_state.connections:
        asked = time.monotonic()
        wire = opened(server.port, ALIVE)
        assert status_of(rest_of(wire)[0]) == 200
        times.append(time.monotonic() - asked)
        time.sleep(0.02)
        assert time.monotonic() - began < 20, "a slow connection is held"
    for wire in wires:
        wire.close()
    return time.monotonic() - began, sorted(times)


def test_fifty_slow_connections_are_gone_by_their_deadline_and_hold_nobody_up(served, until):
    with served(header_seconds=0.6, body_seconds=1.0) as server:
        seconds, times = besieged(server, 50, until)
    assert seconds < 4
    assert times[len(times) // 2] < 0.2


@pytest.mark.slow
def test_five_hundred_slow_connections_leave_the_health_check_under_200_ms(served, until):
    with served(header_seconds=10.0, body_seconds=12.0) as server:
        seconds, times = besieged(server, 500, until)
    assert seconds < 14
    assert times[int(0.99 * len(times))] < 0.2
