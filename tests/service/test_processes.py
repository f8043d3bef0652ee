"""The command itself: it answers, stops gently, and what it acknowledged outlives kill -9."""

import http.client
import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from mitsugo.data.images import encode_png
from mitsugo.tasks.gallery import list_, verify

BOUNDARY = "b"


def form(fields, content):
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    ).encode()
    return b"".join(parts) + head + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def picture(number):
    pixels = np.random.default_rng(number).integers(0, 256, (1, 24, 24)).astype(np.uint8)
    return encode_png(pixels)


def ask(served, path, fields, content, key=None):
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    if key:
        headers["Idempotency-Key"] = key
    connection.request("POST", path, form(fields, content), headers)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


def test_it_answers_and_a_signal_under_load_loses_no_answer(run, serving):
    served = serving(run)
    answered, refused = [], []

    def client(first):
        for number in range(first, first + 400):
            try:
                answered.append(ask(served, "/v1/classify", {}, picture(number))[0])
            except OSError:  # it takes no new connection any more
                refused.append(number)
                return

    threads = [threading.Thread(target=client, args=(1000 * one,)) for one in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    start = time.monotonic()
    served.process.send_signal(signal.SIGTERM)
    assert served.ended(40) == 0
    assert time.monotonic() - start < 30
    for thread in threads:
        thread.join()
    assert answered
    assert set(answered) == {200}
    assert len(refused) == 3
    told = served.told.read_text()
    assert "stopped" in told.splitlines()[-1]
    assert "Traceback" not in told


def killed_again_and_again(run, serving, kills, seed):
    """Teach until it is killed, again and again; return how many images were acknowledged."""
    chance = np.random.default_rng(seed)
    acknowledged = set()
    number = 0
    for _ in range(kills):
        served = serving(run, "--quiet")
        end = threading.Timer(float(chance.uniform(0.05, 0.6)), os.kill, (served.process.pid, signal.SIGKILL))
        end.start()
        try:
            while True:
                number += 1
                fields = {"label": "stain", "note": str(number)}
                status, document = ask(served, "/v1/gallery", fields, picture(number), key=f"k{number}")
                assert status == 201
                acknowledged.add(document["batch"])
        except (OSError, http.client.HTTPException):
            assert served.ended() == -signal.SIGKILL
        taught = list_(run)["classes"].get("stain", {"images": 0})["images"]
        assert taught >= len(acknowledged), "nothing that was acknowledged is lost"
        assert verify(run)["images"] == taught
    return len(acknowledged)


def test_two_kills_lose_nothing(run, serving):
    assert killed_again_and_again(run, serving, 2, 0) >= 0


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing(run, serving):
    assert killed_again_and_again(run, serving, 200, 1) > 100
