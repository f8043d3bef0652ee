"""How soon does the service answer, and how many images a second, beside a plain handler?

    python benchmarks/service.py [--requests 400] [--rounds 3] [--soak MINUTES] [--quick]

The plain handler is twenty lines of FastAPI and PyTorch: decode with PIL, the same network with the same
memory format and threads, torch.cdist to the same gallery, topk and a vote. Ours answers verdicts with their
evidence, through every guard, decoding in processes of its own. Each runs in a process of its own, and they
take turns; clients are threads with keep-alive connections that send one image each. Printed are the medians
over the rounds of images a second and of the p50 and p99 latency, at 1, 8 and 64 connections, for MNIST's
digits (28 x 28, a gallery of all training images) and photos of 224 x 224.
--soak sends digits over 8 connections for so many minutes and prints how the memory grew.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from inspection_speed import digits, photos

CONNECTIONS: Final = (1, 8, 64)
BOUNDARY: Final = "mitsugobenchmark"
START_SECONDS: Final = 180

PLAIN: Final = """
import io, sys
import numpy as np, torch, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
from mitsugo.model.bundle import Model
from mitsugo.model.preprocessing import prepare

model = Model.load(sys.argv[1])
channels, height, width = model.architecture.image_shape
gallery = torch.from_numpy(np.array(model.gallery.vectors))
labels = torch.from_numpy(np.array(model.gallery.labels))
app = FastAPI()

@app.post("/v1/classify")
def classify(image: UploadFile):
    picture = Image.open(io.BytesIO(image.file.read())).convert("L" if channels == 1 else "RGB")
    values = np.asarray(picture.resize((width, height))).reshape(height, width, channels).transpose(2, 0, 1)
    with torch.inference_mode():
        vector = model.network(prepare(torch.from_numpy(values.copy())[None], model.preprocessing))
        near = torch.cdist(vector, gallery)[0].topk(5, largest=False)
    votes = torch.bincount(labels[near.indices], minlength=len(model.class_names))
    return {"label": model.class_names[int(votes.argmax())], "distances": near.values.tolist()}

uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, command: list[str], port: int) -> None:
        self.port = port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with socket.socket() as attempt:
                attempt.settimeout(1)
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    return
            if self.process.poll() is not None:
                sys.exit(f"the server ended with {self.process.returncode}")
            time.sleep(0.2)
        sys.exit("the server did not start in time")

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def memory(self) -> int:
        """Return the bytes that it and its children hold."""
        pids = [self.process.pid, *_children(self.process.pid)]
        return sum(_resident(pid) for pid in pids)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def body_of(content: bytes) -> bytes:
    """Return a form with one image."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="image.png"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def asked(port: int, bodies: list[bytes], connections: int, requests: int) -> tuple[float, list[float]]:
    """Send so many requests over so many connections; return the seconds in all, and those of each."""
    left, lock, took, failed = list(range(requests)), threading.Lock(), [], []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        while True:
            with lock:
                if not left:
                    break
                number = left.pop()
            start = time.perf_counter()
            connection.request("POST", "/v1/classify", bodies[number % len(bodies)], headers)
            answer = connection.getresponse()
            content = answer.read()
            took.append(time.perf_counter() - start)
            if answer.status != 200:
                failed.append((answer.status, content[:200]))
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(connections)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"{len(failed)} of {requests} requests failed: {failed[0]}")
    return time.perf_counter() - start, took


def measured(port: int, bodies: list[bytes], connections: int, requests: int) -> dict[str, float]:
    """Return images a second, and the p50 and p99 latency in milliseconds."""
    seconds, took = asked(port, bodies, connections, requests)
    return {
        "images a second": requests / seconds,
        "p50 ms": 1000 * float(np.quantile(took, 0.5)),
        "p99 ms": 1000 * float(np.quantile(took, 0.99)),
    }


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def compared(what: str, run: Path, lot: Path, requests: int, rounds: int) -> None:
    """Let both sides answer in turn, and print the medians."""
    bodies = [body_of(path.read_bytes()) for path in sorted(lot.iterdir())]
    bundle = str(run / "model.mitsugo")
    commands: dict[str, Callable[[int], list[str]]] = {
        "plain": lambda port: [sys.executable, "-c", PLAIN, bundle, str(port)],
        "mitsugo": lambda port: [
            sys.executable, "-m", "mitsugo", "serve", str(run), "--port", str(port), "--quiet"
        ],
    }  # fmt: skip
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(rounds):
        for side, command in commands.items():
            port = free_port()
            server = Server(command(port), port)
            asked(port, bodies, 8, 40)
            for connections in CONNECTIONS:
                line = measured(port, bodies, connections, max(requests, 4 * connections))
                found.setdefault((side, connections), []).append(line)
            server.stop()
    for connections in CONNECTIONS:
        for side in commands:
            lines = found[side, connections]
            told = {name: statistics.median(line[name] for line in lines) for name in lines[0]}
            words = ", ".join(f"{name} {value:.1f}" for name, value in told.items())
            print(f"{what}, {connections:2d} connections, {side:8s} {words}", flush=True)
        ratio = statistics.median(
            ours["images a second"] / plain["images a second"]
            for ours, plain in zip(found["mitsugo", connections], found["plain", connections], strict=True)
        )
        print(f"{what}, {connections:2d} connections: {ratio:.2f} x the plain handler's images a second")


def soak(run: Path, lot: Path, minutes: float) -> None:
    """Send images for some minutes, and print how the memory grew after the first tenth."""
    bodies = [body_of(path.read_bytes()) for path in sorted(lot.iterdir())]
    port = free_port()
    server = Server(
        [sys.executable, "-m", "mitsugo", "serve", str(run), "--port", str(port), "--quiet"], port
    )
    end, start, first, count = time.monotonic() + 60 * minutes, time.monotonic(), None, 0
    while time.monotonic() < end:
        asked(port, bodies, 8, 200)
        count += 200
        if first is None and time.monotonic() - start > 6 * minutes:
            first = server.memory()
    last = server.memory()
    server.stop()
    grown = 100 * (last / first - 1) if first else float("nan")
    print(f"soak of {minutes:g} minutes, {count:,} images: {last >> 20} MiB at the end, {grown:+.1f} %")


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=float, default=0.0)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    requests, rounds = (64, 1) if options.quick else (options.requests, options.rounds)
    sets: list[tuple[str, Any, int]] = [("28 px", digits, 400), ("224 px", photos, 100)]
    for what, make, count in sets:
        with tempfile.TemporaryDirectory() as at:
            run, lot = make(Path(at), count, quick=options.quick)
            compared(what, run, lot, requests, rounds)
            if options.soak and make is digits:
                soak(run, lot, options.soak)
    print(json.dumps({"requests": requests, "rounds": rounds, "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
