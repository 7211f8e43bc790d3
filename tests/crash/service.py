"""A service that counts: every effect, by the key that the caller gives it."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    """Knows how many of the connections that it accepted it is not done with."""

    # Were there no room for a connection, the kernel would try again after its process died.
    request_queue_size = 1000

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._open = 0
        self._changed = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    def wait_for_others(self) -> None:
        """Wait, within a request, until every other one is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._open == 1)


class CountingService:
    """Serves ``POST /bump/{name}`` and ``GET /peek/{name}``; both answer what they were given.

    Attributes:
        effects: How often each key was served.
        numbers: What was sent under each key.
        serving: Held while an effect is counted.
    """

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.numbers: dict[str, int] = {}
        self.serving = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                key = self.headers["Idempotency-Key"].strip('"')
                with service.serving:
                    service.effects[key] += 1
                    service.numbers[key] = body["n"]
                self._answer({"bumped": body["n"]})

            def do_GET(self) -> None:
                if self.path == "/quiet":
                    service._server.wait_for_others()
                    self._answer({})
                    return
                number = int(self.path.partition("n=")[2])
                self._answer({"peeked": number})

            def _answer(self, value: Any) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return

        self._server = _Server(Handler)
        self.port: int = self._server.server_address[1]

    @contextmanager
    def running(self) -> Iterator[CountingService]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def happened(self, key: str) -> int:
        """How often an effect happened, now that nobody who could cause it lives.

        A request of a process that died may not have been read yet. Connections are accepted in
        the order in which they were made, so one made now is behind all of those.
        """
        self.come_to_rest()
        return self.effects[key]

    def come_to_rest(self) -> None:
        """Serve every request that was sent so far to its end."""
        url = f"http://127.0.0.1:{self.port}/quiet"
        with urllib.request.urlopen(url) as answer:
            answer.read()

    def description(self, names: list[str]) -> dict[str, Any]:
        """The service's OpenAPI document."""
        number = {"type": "integer"}
        paths: dict[str, Any] = {}
        for name in names:
            paths[f"/bump/{name}"] = {
                "post": {
                    "operationId": f"bump_{name}",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"n": number},
                                    "required": ["n"],
                                }
                            }
                        },
                    },
                    "responses": {"200": {"description": "done"}},
                }
            }
            paths[f"/peek/{name}"] = {
                "get": {
                    "operationId": f"peek_{name}",
                    "parameters": [
                        {"name": "n", "in": "query", "required": True, "schema": number}
                    ],
                    "responses": {"200": {"description": "seen"}},
                }
            }
        return {
            "openapi": "3.1.0",
            "info": {"title": "counter", "version": "1.0.0"},
            "servers": [{"url": f"http://127.0.0.1:{self.port}"}],
            "paths": paths,
        }
