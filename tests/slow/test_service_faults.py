"""Many who are slow, and many who ask anything: health answers at once, and no answer is our failure."""

import http.client
import re
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest

pytestmark = pytest.mark.slow

SLOW = 500
ASKED = 200
FUZZER = shutil.which("schemathesis")
REQUESTS = 20_000


@pytest.fixture
def served(run, serving):
    """Serve a run; yield the port, and see that it ends well."""
    served = serving(run)
    yield served.port
    served.process.terminate()
    assert served.ended(40) == 0
    assert "Traceback" not in served.told.read_text()


def seconds_to_say_that_it_lives(port):
    start = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/health/live")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b'{"live":true}')
    connection.close()
    return time.perf_counter() - start


def test_hundreds_of_slow_connections_hold_nobody_up(served):
    wires = []
    for _ in range(SLOW):
        wire = socket.create_connection(("127.0.0.1", served), timeout=20)
        wire.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        wires.append(wire)
    took = []
    for _ in range(ASKED):
        for wire in wires[::25]:
            wire.sendall(b"x")
        took.append(seconds_to_say_that_it_lives(served))
    for wire in wires:
        wire.close()
    assert np.quantile(took, 0.99) < 0.2


@pytest.mark.skipif(FUZZER is None, reason="needs schemathesis: pip install schemathesis")
def test_whatever_is_asked_no_answer_is_a_failure_of_ours(served, tmp_path):
    """Requests made from the service's own description, by Schemathesis: some as it says, most not."""
    made = 0
    for seed in range(40):
        result = subprocess.run(
            [
                FUZZER, "run", f"http://127.0.0.1:{served}/openapi.json", "--checks", "not_a_server_error",
                "--phases", "examples,coverage,fuzzing", "--max-examples", "100", "--seed", str(seed),
                "--exclude-path-regex", "^/(health/ready|v1/map)$", "--no-color",
            ],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout[-3000:]
        made += int(re.search(r"([\d,]+) generated", result.stdout)[1].replace(",", ""))
        if made >= REQUESTS:
            return
    raise AssertionError(made)
