"""Texts of tools for tests."""

from __future__ import annotations

from pathlib import Path

TOOLS = Path(__file__).parent / "tools"


def tool(name: str, body: str = "args", *, extra: str = "", properties: str = "") -> str:
    """A tool of the functions form."""
    word = "async fn" if ".await" in body else "fn"
    return f"""
pub fn NAME() {{ "{name}" }}
pub fn DESCRIPTION() {{ "The tool {name}." }}
pub fn INPUT_SCHEMA() {{ #{{ type: "object", properties: #{{ {properties} }} }} }}
{extra}
pub {word} call(args) {{ {body} }}
"""


def written(folder: Path, relative: str, text: str | bytes | None = None) -> Path:
    """A file below a folder; by default with a tool that is called like the file."""
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tool(path.stem) if text is None else text
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
