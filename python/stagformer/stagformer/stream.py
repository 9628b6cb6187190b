"""A call with a callback, turned into an iterator."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

Result = TypeVar("Result")


class StreamLeft(Exception):
    """Ends the call that nobody listens to any more; other ranks read its message."""


def stream_texts(call: Callable[[Callable[[str], None]], Result]) -> Generator[str, None, Result]:
    """Runs `call` in a thread that works only while the consumer waits for the next text: never both at a time."""
    wanted = threading.Semaphore(0)
    texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    results: list[Result] = []
    failures: list[BaseException] = []
    closed = False

    def on_text(text: str) -> None:
        texts.put(text)
        wanted.acquire()
        if closed:
            raise StreamLeft("the loop over the text was left")

    def work() -> None:
        try:
            results.append(call(on_text))
        except BaseException as failure:  # raised again by the consumer
            failures.append(failure)
        texts.put(None)

    worker = threading.Thread(target=work, name="stagformer stream")
    worker.start()
    try:
        while (text := texts.get()) is not None:
            yield text
            wanted.release()
    finally:
        closed = True
        wanted.release()
        worker.join()
    if failures:
        raise failures[0]
    return results[0]
