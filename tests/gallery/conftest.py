"""Rows and galleries to try things on."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mitsugo.gallery import Row, opened

FINGERPRINT = "ab" * 32


def _row(number, class_name="scratch", **changes):
    chance = np.random.default_rng(number)
    usual = {
        "class_name": class_name,
        "name": f"photo {number}.png",
        "source": "/photos",
        "digest": number.to_bytes(16, "little"),
        "vector": chance.normal(size=3).astype(np.float32),
        "statistics": chance.normal(size=2).astype(np.float32),
        "thumbnail": b"PNG" * (number % 5),
    }
    return Row(**usual | changes)


@pytest.fixture(scope="session")
def row():
    """Make a row of a 3-d gallery with two statistics; all of it hangs on a number."""
    return _row


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gallery.sqlite"


@pytest.fixture
def reopened(path):
    """Open the gallery at the path, begin it where there is none; the caller closes it."""

    def open_(**changes):
        usual = {"fingerprint": FINGERPRINT, "dimension": 3, "statistics": 2, "create": True}
        return opened(path, **usual | changes)

    return open_


@pytest.fixture
def store(reopened):
    with reopened() as open_store:
        yield open_store


NURSERY = """
import json, os, signal, sys, time
from pathlib import Path
import numpy as np
from mitsugo.errors import StoreError
from mitsugo.gallery import Row, opened

def row(number, class_name="scratch"):
    chance = np.random.default_rng(number)
    return Row(
        class_name=class_name, name=f"photo {number}.png", source="/photos",
        digest=number.to_bytes(16, "little"), vector=chance.normal(size=3).astype(np.float32),
        statistics=chance.normal(size=2).astype(np.float32), thumbnail=b"PNG" * (number % 5),
    )

def gallery(path):
    return opened(Path(path), fingerprint="ab" * 32, dimension=3, statistics=2, create=True)

def change(store, step):
    first = 3 * (step // 4)
    match step % 4:
        case 0: store.add([row(first + i) for i in range(3)], ng={"scratch": True})
        case 1: store.remove(names=[f"photo {first}.png"])
        case 2: store.undo()
        case 3: store.remove(names=[f"photo {first + 1}.png"])

def changes(say, path, seconds):
    say("begun")
    with gallery(path) as store:
        step = len(store.log())
        say(step)
        while True:
            change(store, step)
            step += 1
            say(step)

def writes(say, path, first, batches, seconds):
    end, number = time.monotonic() + seconds, first
    with gallery(path) as store:
        while number < first + batches or time.monotonic() < end:
            store.add([row(number)], ng={})
            number += 1
    say(number - first)

def reads(say, path, times, seconds):
    end, done, least = time.monotonic() + seconds, 0, 0
    while done < times or time.monotonic() < end:
        with gallery(path) as store:
            found = len(store.rows())
            assert found >= least, "what was read once stays"
            done, least = done + 1, found
    say(least)

def asks(say, path, number, request, seconds):
    with gallery(path) as store:
        say(store.add([row(number)], ng={}, request=request))

def without_rights(say, path, seconds):
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    with gallery(path) as store:
        say(len(store.rows()))
        store.add([row(77)], ng={})

def born(act, arguments, kill_after, heard):
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.close(read)
        def say(word):
            os.write(write, f"{word}\\n".encode())
        try:
            globals()[act](say, **arguments)
        except StoreError as error:
            say(f"StoreError: {error}")
        except BaseException as error:
            say(f"{type(error).__name__}: {error}")
        os._exit(0)
    os.close(write)
    lines = os.fdopen(read)
    said = [lines.readline() for _ in range(heard)]
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return child, lines, said

for line in sys.stdin:
    children = [born(**one) for one in json.loads(line)]
    said = []
    for child, lines, before in children:
        with lines:
            said.append([line.rstrip() for line in [*before, *lines]])
        os.waitpid(child, 0)
    print(json.dumps(said), flush=True)
"""


def _after(steps):
    """Return the numbers of the images that stand after so many of the nursery's changes, as plain loops."""
    found = set()
    for step in range(steps):
        first = 3 * (step // 4)
        match step % 4:
            case 0:
                found |= {first, first + 1, first + 2}
            case 1:
                found -= {first}
            case 2:
                found |= {first}
            case 3:
                found -= {first + 1}
    return found


@pytest.fixture(scope="session")
def after():
    """Tell which images stand after so many of the nursery's changes."""
    return _after


@pytest.fixture(scope="session")
def numbers():
    """Tell which images stand in a gallery."""
    return lambda store: {int.from_bytes(one.digest, "little") for one in store.rows()}


@pytest.fixture(scope="session")
def nursery():
    """Let processes act on a gallery, all at once; return what each said.

    A process that has all imported forks them, so that a hundred of them take a second.
    """
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(*acts, kill_after=None, heard=0, seconds=0.0):
            wanted = [
                {
                    "act": act,
                    "arguments": {**arguments, "seconds": seconds},
                    "kill_after": kill_after,
                    "heard": heard,
                }
                for act, arguments in acts
            ]
            print(json.dumps(wanted), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()
