"""The server: a socket that is ours or one line that says why not, and a stop that loses no answer."""

import asyncio
import contextlib
import errno
import http.client
import io
import json
import logging
import os
import re
import signal
import socket
import threading
import time

import pytest

from mitsugo.errors import Interrupted, ResourceError, UsageError
from mitsugo.service.guard import GuardOptions, guarded
from mitsugo.service.limits import Limits
from mitsugo.service.server import Address, Server, bound, serve, tls_context

LOGS = ("mitsugo.service", "uvicorn.error", "python_multipart", "asyncio")
SLOW = b"GET /v1/slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def ask(port, path):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def told_to_come_again(answer):
    """Assert that an answer is 503 as a problem, and nothing of the library's own."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"retry-after: 5" in head.lower()
    assert json.loads(body)["detail"] == "the service is stopping; try again"


def send(number):
    """Let a signal arrive in the main thread, which alone handles it."""
    signal.pthread_kill(threading.main_thread().ident, number)


@pytest.fixture
def told():
    """What `serve_while` writes to stderr."""
    return io.StringIO()


@pytest.fixture
def strays():
    """Signals that the server did not take, as it must not once it has ended."""
    found = []
    before = {
        number: signal.signal(number, lambda got, _: found.append(got))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    ours = {number: signal.getsignal(number) for number in before}
    yield found
    assert {number: signal.getsignal(number) for number in before} == ours, "the handlers are put back"
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def serve_while(make_app, told, strays, until):
    """Serve in this thread, where signals arrive, while `act(port, went)` runs in another."""

    def run(act, *, ready_to_stop=None, **numbers):
        limits = Limits(**numbers)
        app = make_app(limits)
        failed = []

        def acted():
            try:
                until(lambda: "Ctrl+C stops" in told.getvalue())
                port = re.search(r"serving on http://127\.0\.0\.1:(\d+); ", told.getvalue())[1]
                act(int(port), app.state.went)
            except BaseException as error:  # noqa: BLE001 - raised again where the test sees it
                failed.append(error)
                app.state.went.hold.set()
                send(signal.SIGTERM)

        thread = threading.Thread(target=acted)
        thread.start()
        try:
            behind = guarded(app, GuardOptions(limits=limits))
            with contextlib.redirect_stderr(told):
                serve(behind, Address(port=0), limits=limits, ready_to_stop=ready_to_stop)
        finally:
            thread.join(20)
            if failed:
                raise failed[0]

    return run


def test_a_signal_ends_it_and_its_accepted_request_is_answered(serve_while, told, strays, until, said):
    stopping, answers = [], []

    def act(port, went):
        client = threading.Thread(target=lambda: answers.append(said(port, SLOW)))
        client.start()
        until(lambda: went.reached)
        send(signal.SIGTERM)
        until(lambda: stopping)
        assert answers == []
        went.hold.set()
        client.join(20)

    serve_while(act, ready_to_stop=lambda: stopping.append(True))
    assert answers[0].endswith(b'{"slow":true}')
    assert told.getvalue().splitlines()[-1].endswith("INFO stopped")
    assert (stopping, strays) == ([True], [])


def test_a_second_signal_drops_requests_with_a_problem_and_without_a_traceback(
    serve_while, told, strays, until
):
    answers = []

    def act(port, went):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
            wire.sendall(SLOW)
            until(lambda: went.reached)
            send(signal.SIGTERM)
            until(lambda: "stopping: finishing 1 requests" in told.getvalue())
            send(signal.SIGINT)
            answers.append(b"".join(iter(lambda: wire.recv(65536), b"")))

    with pytest.raises(Interrupted, match="stopped at once, requests were dropped") as stopped:
        serve_while(act)
    assert stopped.value.exit_code == 128 + signal.SIGINT
    told_to_come_again(answers[0])
    assert "Traceback" not in told.getvalue()
    assert strays == []


def test_an_answer_that_has_begun_is_cut_and_never_ended_as_if_it_were_whole(serve_while, told, until):
    answers = []

    def act(port, went):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
            wire.sendall(SLOW.replace(b"slow", b"begun"))
            got = b""
            while b"begun" not in got:
                got += wire.recv(65536)
            send(signal.SIGTERM)
            until(lambda: "stopping: finishing 1 requests" in told.getvalue())
            send(signal.SIGTERM)
            answers.append(got + b"".join(iter(lambda: wire.recv(65536), b"")))

    with pytest.raises(Interrupted):
        serve_while(act)
    assert answers[0].startswith(b"HTTP/1.1 200 ")
    assert answers[0].endswith(b"begun\r\n"), "the chunk that ends an answer never came"
    assert "Traceback" not in told.getvalue()


def test_the_log_of_the_libraries_is_put_back(serve_while):
    before = [(log.level, log.propagate, list(log.handlers)) for log in map(logging.getLogger, LOGS)]
    serve_while(lambda port, went: send(signal.SIGINT))
    assert [(log.level, log.propagate, log.handlers) for log in map(logging.getLogger, LOGS)] == before


def test_a_third_signal_ends_the_process_on_the_spot(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)

    async def thrice(server):
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            assert ended == []
            server.handle_exit(number, None)

    with bound("127.0.0.1", 0, has_token=False) as listener:
        asyncio.run(thrice(Server(lambda *_: None, listener, Limits())))
    assert ended == [128 + signal.SIGTERM]


def test_a_stop_finishes_what_was_accepted_and_takes_nothing_new(served, until, caplog):
    caplog.set_level(logging.INFO, "mitsugo.service")
    found = []
    with served() as server:
        client = threading.Thread(target=lambda: found.append(ask(server.port, "/v1/slow")))
        client.start()
        until(lambda: server.app.state.went.reached)
        server.should_exit = True
        until(lambda: "stopping: finishing 1 requests" in caplog.text)
        with pytest.raises(OSError, match=r"refused|reset"):
            ask(server.port, "/health/live")
        assert found == []
        server.app.state.went.hold.set()
        client.join(20)
    assert found == [(200, b'{"slow":true}')]
    assert "stopped" in caplog.text


def test_what_takes_longer_than_the_drain_is_told_to_come_again(served, until, said):
    answers = []
    with served(drain_seconds=1.0) as server:
        thread = threading.Thread(target=lambda: answers.append(said(server.port, SLOW)))
        thread.start()
        until(lambda: server.app.state.went.reached)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
    told_to_come_again(answers[0])


def test_an_app_that_does_not_start_is_told():
    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with bound("127.0.0.1", 0, has_token=False) as listener:
        server = Server(app, listener, Limits())
        with pytest.raises(ResourceError, match="the service did not start"):
            asyncio.run(server.serve())


def test_a_port_is_ours_or_it_is_said_why_not():
    with bound("127.0.0.1", 0, has_token=False) as one:
        port = one.getsockname()[1]
        assert port > 0
        with pytest.raises(
            ResourceError, match=f"--port {port}: another program has this port; choose another"
        ):
            bound("127.0.0.1", port, has_token=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - refused
def test_who_lets_others_in_asks_for_a_token(host):
    with pytest.raises(UsageError, match="others could ask without a token; name a file that holds one"):
        bound(host, 0, has_token=False)


def test_with_a_token_others_may_ask():
    with bound("0.0.0.0", 0, has_token=True) as listener:  # noqa: S104 - meant
        assert listener.getsockname()[0] == "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid", "a\x00b"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(UsageError, match="is no address of this machine"):
        bound(host, 0, has_token=True)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "only an administrator may take this port; choose one above 1023"),
        (errno.ENOBUFS, "--host 127.0.0.1 --port 80: cannot be taken: "),
    ],
)
def test_a_port_that_the_system_keeps_is_told_in_one_line(monkeypatch, number, words):
    class Refusing(socket.socket):
        def bind(self, _address):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)
    with pytest.raises(ResourceError, match=words) as refused:
        bound("127.0.0.1", 80, has_token=False)
    assert "\n" not in str(refused.value)


def test_tls_needs_two_files_that_belong_together(tmp_path):
    key = tmp_path / "line.key"
    key.write_text("no key")
    assert tls_context(None, None) is None
    for pair in ((key, None), (None, key)):
        with pytest.raises(UsageError, match="TLS needs both --tls-cert and --tls-key"):
            tls_context(*pair)
    with pytest.raises(
        UsageError, match="expected a certificate and its own key, without a password, in PEM"
    ):
        tls_context(key, key)
    with pytest.raises(UsageError, match=r"missing\.crt"):
        tls_context(tmp_path / "missing.crt", key)


def test_answers_on_a_kept_connection_do_not_wait_for_the_network(served):
    """Without TCP_NODELAY each of two writes would wait for the client's delayed ACK, 40 ms."""
    with served() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        took = []
        for _ in range(20):
            start = time.perf_counter()
            connection.request("POST", "/v1/echo", b"x" * 100, {"Host": "localhost"})
            assert connection.getresponse().read() == b'{"length":100}'
            took.append(time.perf_counter() - start)
        connection.close()
    assert sorted(took)[10] < 0.035
