"""A service that counts: every effect, by the key that the caller gives it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class CountingService:
    """Serves ``POST /bump/{name}`` and ``GET /peek/{name}``; both answer what they were given."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = json.loads(self.rfile.read(length))
                key = self.headers["Idempotency-Key"].strip('"')
                with service._lock:
                    service.effects[key] += 1
                    service.numbers[key] = body["n"]
                self._answer({"bumped": body["n"]})

            def do_GET(self) -> None:
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

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
