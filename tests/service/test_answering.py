"""Requests that come while a batch is answered go together; each gets its own answers, in order."""

import asyncio
import threading

import numpy as np
import pytest

from mitsugo.service.answering import TOGETHER, Answers, Busy, Image


class FakeLive:
    """Answers with the value of each image's first pixel; waits while it is held."""

    def __init__(self):
        self.free = threading.Event()
        self.free.set()
        self.batches = []

    def classify(self, pixels, names, notes):
        self.free.wait(10)
        self.batches.append(len(names))
        if 255 in pixels:
            raise ValueError("broken")
        return "snapshot", tuple(int(image[0, 0, 0]) for image in pixels)


def image(value):
    return Image(name=str(value), pixels=np.full((1, 2, 2), value, np.uint8), notes=())


def asked(test, most=100):
    live = FakeLive()

    async def whole():
        answers = Answers(live.classify, most_waiting=most, seen=lambda _: None)
        running = asyncio.create_task(answers.run())
        try:
            return await test(answers, live)
        finally:
            live.free.set()
            running.cancel()
            await running
            answers.close()

    return asyncio.run(whole()), live


def test_those_who_wait_go_together_and_each_gets_its_own():
    async def test(answers, live):
        live.free.clear()
        first = asyncio.create_task(answers.verdicts([image(1)]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(answers.verdicts([image(n), image(n + 1)])) for n in range(10, 20, 2)]
        await asyncio.sleep(0.05)
        assert answers.waiting == 10
        live.free.set()
        return [await one for one in (first, *others)]

    found, live = asked(test)
    assert [values for _, values in found] == [(1,), *((n, n + 1) for n in range(10, 20, 2))]
    assert live.batches == [1, 10]


def test_a_batch_has_a_size_but_a_request_is_never_torn():
    async def test(answers, live):
        live.free.clear()
        tasks = [asyncio.create_task(answers.verdicts([image(0)]))]
        await asyncio.sleep(0.05)
        tasks += [asyncio.create_task(answers.verdicts([image(1)] * size)) for size in (40, 30, 80)]
        await asyncio.sleep(0.05)
        live.free.set()
        await asyncio.gather(*tasks)

    _, live = asked(test, most=1000)
    assert live.batches == [1, 40, 30, 80]
    assert TOGETHER == 64


def test_too_many_who_wait_are_sent_away_and_the_others_are_answered():
    async def test(answers, live):
        live.free.clear()
        first = asyncio.create_task(answers.verdicts([image(1)]))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(answers.verdicts([image(2)] * 3))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await answers.verdicts([image(3)])
        live.free.set()
        return (await first)[1], (await second)[1]

    assert asked(test, most=3)[0] == ((1,), (2, 2, 2))


def test_an_error_is_told_to_whoever_asked_and_the_next_is_answered():
    async def test(answers, live):
        with pytest.raises(ValueError, match="broken"):
            await answers.verdicts([image(255)])
        return await answers.verdicts([image(7)])

    assert asked(test)[0] == ("snapshot", (7,))


def test_who_goes_away_is_not_answered():
    async def test(answers, live):
        live.free.clear()
        first = asyncio.create_task(answers.verdicts([image(1)]))
        await asyncio.sleep(0.05)
        gone = asyncio.create_task(answers.verdicts([image(2)]))
        stays = asyncio.create_task(answers.verdicts([image(3)]))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        live.free.set()
        return (await first)[1], (await stays)[1]

    found, live = asked(test)
    assert found == ((1,), (3,))
    assert live.batches == [1, 1]


def test_other_work_is_done_between_two_batches():
    async def test(answers, live):
        return await answers.apart(lambda: threading.current_thread().name)

    assert asked(test)[0].startswith("answer")
