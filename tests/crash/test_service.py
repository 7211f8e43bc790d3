"""The service that counts tells what a dead process did, however late it gets to it."""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crash.service import CountingService


def send_and_die(port: int, key: str) -> None:
    """Leave a whole request behind, and nobody who waits for its answer."""
    body = json.dumps({"n": 1})
    head = f"POST /bump/a HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {key}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())


def test_request_of_a_dead_process_counts_although_it_is_served_late() -> None:
    with CountingService().running() as service, ThreadPoolExecutor() as threads:
        with service.serving:
            send_and_die(service.port, "key")
            asked = threads.submit(service.happened, "key")
            with pytest.raises(TimeoutError):
                asked.result(0.2)
        assert asked.result(60) == 1


def test_what_never_was_sent_did_not_happen() -> None:
    with CountingService().running() as service:
        send_and_die(service.port, "key")
        assert (service.happened("other"), service.happened("key")) == (0, 1)


def test_many_requests_at_once_are_all_served_before_the_answer() -> None:
    with CountingService().running() as service:
        senders = [
            threading.Thread(target=send_and_die, args=(service.port, f"key-{number}"))
            for number in range(20)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert [service.happened(f"key-{number}") for number in range(20)] == [1] * 20
