"""An MCP server with a tool, resources, a template and a prompt; no test module.

Once the file named as its argument exists, it says something else of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

STATE = Path(sys.argv[1] if len(sys.argv) > 1 else "/nowhere")


def offers() -> dict[str, Any]:
    changed = " And more." if STATE.exists() else ""
    return {
        "tools/list": {
            "tools": [
                {
                    "name": "announce",
                    "description": "Announces a change.",
                    "inputSchema": {"type": "object"},
                    "annotations": {"readOnlyHint": True},
                }
            ]
        },
        "resources/list": {
            "resources": [
                {"uri": "library://rules", "name": "rules", "description": f"The rules.{changed}"},
                {"uri": "library://index", "name": "index", "mimeType": "application/json"},
                {"uri": "library://cover", "name": "cover", "mimeType": "image/png"},
            ]
        },
        "resources/templates/list": {
            "resourceTemplates": [
                {"uriTemplate": "library://books/{id}{?page}", "name": "book", "title": "A book"}
            ]
        },
        "prompts/list": {
            "prompts": [
                {
                    "name": "summary",
                    "description": f"Sums up a book.{changed}",
                    "arguments": [
                        {"name": "id", "description": "Which book.", "required": True},
                        {"name": "tone"},
                    ],
                }
            ]
        },
    }


def read(uri: str) -> dict[str, Any]:
    if uri == "library://index":
        return {"uri": uri, "mimeType": "application/json", "text": '{"books": 2}'}
    if uri == "library://cover":
        return {"uri": uri, "mimeType": "image/png", "blob": "aGVsbG8="}
    return {"uri": uri, "mimeType": "text/plain", "text": f"read {uri}"}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(message: dict[str, Any]) -> None:
    method, given = message["method"], message.get("params") or {}
    found: dict[str, Any]
    if method == "initialize":
        found = {
            "protocolVersion": "2025-11-25",
            "capabilities": {
                "tools": {},
                "resources": {"listChanged": True},
                "prompts": {"listChanged": True},
            },
            "serverInfo": {"name": "library", "version": "1.0"},
        }
    elif method in offers():
        found = offers()[method]
    elif method == "resources/read" and "missing" in given["uri"]:
        error = {"code": -32002, "message": "There is no such book."}
        return send({"id": message["id"], "error": error})
    elif method == "resources/read":
        found = {"contents": [read(given["uri"])]}
    elif method == "prompts/get":
        text = json.dumps(given.get("arguments"))
        content = {"type": "text", "text": text}
        found = {"description": "Sum up", "messages": [{"role": "user", "content": content}]}
    elif method == "tools/call":
        STATE.touch()
        for kind in ("resources", "prompts"):
            send({"method": f"notifications/{kind}/list_changed"})
        found = {"content": []}
    else:
        error = {"code": -32601, "message": "unknown method"}
        return send({"id": message["id"], "error": error})
    return send({"id": message["id"], "result": found})


for line in sys.stdin:
    received = json.loads(line)
    if "id" in received:
        answer(received)
