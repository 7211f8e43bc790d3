"""An HTTP service that answers what a test says."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from typing import Any, ClassVar


class Slow:
    """An answer that is held back."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()


class Answers(http.server.BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.partition("?")[0], {})
        if isinstance(answer, Slow):
            answer.asked.set()
            answer.let_go.wait(30)
            answer = {}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # whoever asked may be gone
            self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - named by http.server

    def log_message(self, *_: object) -> None:
        pass
