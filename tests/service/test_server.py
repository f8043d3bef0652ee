"""The server: a socket that is ours or one line that says why not, and a stop that loses no answer."""

import asyncio
import http.client
import logging
import socket
import threading

import pytest

from mitsugo.errors import ResourceError, UsageError
from mitsugo.service.limits import Limits
from mitsugo.service.server import Server, bound, tls_context


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Host": "localhost"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


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


def test_what_takes_longer_than_the_drain_is_dropped(served, until):
    found = []

    def client(port):
        try:
            found.append(ask(port, "/v1/slow")[0])
        except (OSError, http.client.HTTPException):
            found.append(None)

    with served(drain_seconds=1.0) as server:
        thread = threading.Thread(target=client, args=(server.port,))
        thread.start()
        until(lambda: server.app.state.went.reached)
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
    assert found in ([None], [500], [503])


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


def test_a_port_below_1024_may_be_an_administrators(monkeypatch):
    class Forbidden(socket.socket):
        def bind(self, _address):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(ResourceError, match="choose one above 1023"):
        bound("127.0.0.1", 80, has_token=False)


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
