"""Descriptions that are meant for a model, and not for whoever chooses a tool.

What a tool says of itself reaches language models, so a text can try to steer them. The scanner
reads every text of a definition as a model would, hidden characters and look-alikes undone, and
reports what looks like an attempt. Its findings never lower a risk. The kinds follow the OWASP MCP
Top 10 (tool poisoning, shadowing) and the attack types of MCPTox.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ccos.capabilities import Manifest, id_tokens, provider_url
from ccos.providers.mcp_text import hidden_character, plain_text
from ccos.resolution.lookalikes import confusable_word, in_latin, skeleton
from ccos.resolution.poison_patterns import PATTERNS, Poison
from ccos.resolution.risk import RiskLevel

__all__ = ["Finding", "Poison", "scan"]

LONGEST_TEXT: Final = 4_000
"""Characters of one text; a longer one is not read by the person who decides."""
_EXCERPT: Final = 100
_MOST_TEXTS: Final = 5_000
_MOST_FINDINGS: Final = 20


_LEVELS: Final = {
    Poison.SELF_PRAISE: RiskLevel.MEDIUM,
    Poison.OVERSIZED: RiskLevel.MEDIUM,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something suspicious in a definition.

    Attributes:
        place: JSON Pointer (RFC 6901) into the manifest.
        excerpt: The text concerned, safe to be shown.
    """

    kind: Poison
    place: str
    excerpt: str

    @property
    def level(self) -> RiskLevel:
        """The least risk that a candidate with such a finding has."""
        return _LEVELS.get(self.kind, RiskLevel.HIGH)

    def __str__(self) -> str:
        return f"{self.place} holds {self.kind}: “{self.excerpt}”"


def scan(manifest: Manifest, others: Collection[str] = ()) -> tuple[Finding, ...]:
    """Everything suspicious in a definition, at most 20 findings.

    Args:
        manifest: The candidate.
        others: Ids of the capabilities that are registered.
    """
    found = itertools.chain(
        _names(manifest, others),
        *(
            _text(place, text, manifest, others)
            for place, text in itertools.islice(_texts(manifest), _MOST_TEXTS)
        ),
        _parameters(manifest),
    )
    return tuple(itertools.islice(dict.fromkeys(found), _MOST_FINDINGS))


def _texts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "/name", manifest.name
    yield "/description", manifest.description
    for part in ("input_schema", "output_schema", "metadata"):
        yield from _strings(getattr(manifest, part), f"/{part}")


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    waiting = [(place, value)]
    while waiting:
        here, current = waiting.pop()
        if isinstance(current, str):
            yield here, current
        elif isinstance(current, dict):
            for key, one in current.items():
                below = f"{here}/{str(key).replace('~', '~0').replace('/', '~1')}"
                yield below, str(key)
                waiting.append((below, one))
        elif isinstance(current, list):
            waiting += [(f"{here}/{number}", one) for number, one in enumerate(current)]


def _text(place: str, text: str, manifest: Manifest, others: Collection[str]) -> Iterator[Finding]:
    def finding(kind: Poison, excerpt: str) -> Finding:
        shown = " ".join(plain_text(excerpt, limit=len(excerpt) + 1).split())
        return Finding(kind, place, shown[:_EXCERPT] + "…" * (len(shown) > _EXCERPT))

    if len(text) > LONGEST_TEXT:
        yield finding(Poison.OVERSIZED, text)
    if hidden := _hidden(text):
        yield finding(Poison.HIDDEN, f"{hidden} in: {text}")
    for word in _WORD.findall(text):
        if confusable_word(word):
            yield finding(Poison.LOOKALIKE, f"{word} mixes alphabets")
            break
    if blob := _encoded(text):
        yield finding(Poison.ENCODED, blob)
    for sentence in _sentences(_as_read(text)):
        for kind, pattern in PATTERNS:
            if pattern.search(sentence):
                yield finding(kind, sentence)
        if _sends_elsewhere(sentence, manifest):
            yield finding(Poison.EXFILTRATION, sentence)
        if other := _steers(sentence, manifest.id, others):
            yield finding(Poison.SHADOWING, f"{other}: {sentence}")


_WORD: Final = re.compile(r"[^\W\d_]+")
_JOINERS: Final = frozenset("\u200c\u200d")
_MARKS: Final = frozenset("\u200e\u200f\u061c")
_JOINING_SCRIPTS: Final = ("ARABIC", "DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "KANNADA")
_JOINING_SCRIPTS_TOO: Final = ("MALAYALAM", "GUJARATI", "GURMUKHI", "ORIYA", "SINHALA", "KHMER")


def _hidden(text: str) -> str | None:
    """The first thing that a reader would not see; joiners that a script needs are fine."""
    written = [
        character
        for position, character in enumerate(text)
        if not _belongs_to_script(text, position)
    ]
    if hidden := hidden_character("".join(written)):
        return hidden
    if _GAP.search(text):
        return "a gap of 40 or more blanks"
    return "an HTML comment" if "<!--" in text else None


_GAP: Final = re.compile(r"[^\S\n]{40}|\n{20}")


def _belongs_to_script(text: str, position: int) -> bool:
    character = text[position]
    if character in _JOINERS:
        around = text[max(0, position - 2) : position + 2].replace(character, "")
        scripts = {unicodedata.name(one, "").partition(" ")[0] for one in around}
        return bool(scripts & {*_JOINING_SCRIPTS, *_JOINING_SCRIPTS_TOO})
    if character in _MARKS:
        return any(unicodedata.bidirectional(one) in ("R", "AL") for one in text)
    return False


_BLOB: Final = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_READABLE: Final = 0.9


def _encoded(text: str) -> str | None:
    """Base64 or hexadecimal that holds a text of its own."""
    for match in _BLOB.finditer(text):
        blob = match.group()
        for decoded in (_from_base64(blob), _from_hex(blob)):
            if decoded is None:
                continue
            readable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in decoded)
            if readable >= _READABLE * len(decoded) and b" " in decoded:
                return decoded.decode("ascii", "replace")
    return None


def _from_base64(blob: str) -> bytes | None:
    try:
        padded = blob.rstrip("=") + "=" * (-len(blob.rstrip("=")) % 4)
        return base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (ValueError, binascii.Error):
        return None


def _from_hex(blob: str) -> bytes | None:
    try:
        return bytes.fromhex(blob)
    except ValueError:
        return None


def _as_read(text: str) -> str:
    """A text as a model reads it: nothing hidden, look-alikes as what they look like."""
    seen = "".join(
        _untagged(one)
        for one in text
        if one in "\n\t" or 0xE0000 <= ord(one) <= 0xE007F or unicodedata.category(one) != "Cf"
    )
    normal = unicodedata.normalize("NFKC", seen)
    folded = _WORD.sub(
        lambda word: in_latin(word.group()) if confusable_word(word.group()) else word.group(),
        normal,
    )
    return folded.casefold()


def _untagged(character: str) -> str:
    """A tag character as the ASCII character that it stands for."""
    code = ord(character)
    return chr(code - 0xE0000) if 0xE0020 <= code <= 0xE007E else character


def _sentences(text: str) -> Iterator[str]:
    for part in re.split(r"(?<=[.!?;。！？])\s+|\n\s*\n|[。！？]", text):
        if sentence := " ".join(part.split()):
            yield sentence


_SEND: Final = re.compile(
    r"\b(?:send|sends|post|posts|forward|forwards|upload|uploads|copy|copies|cc|bcc|report|transmit"
    r"|exfiltrate|deliver|redirect|route|mirror)\b"
)
_ADDRESS: Final = re.compile(r"https?://([a-z0-9.-]+)|[\w.+-]+@([a-z0-9-]+(?:\.[a-z0-9-]+)+)")
_EXAMPLE_HOSTS: Final = ("example.com", "example.org", "example.net", "localhost")


def _sends_elsewhere(sentence: str, manifest: Manifest) -> bool:
    """Whether data goes to an address that is neither the provider's nor an example."""
    send = _SEND.search(sentence)
    if send is None:
        return False
    own = provider_url(manifest.provider) or ""
    for match in _ADDRESS.finditer(sentence, send.end()):
        host = (match.group(1) or match.group(2)).rstrip(".")
        # RFC 2606 keeps these names for examples.
        if host.endswith(_EXAMPLE_HOSTS) or f"//{host}" in own.lower():
            continue
        if re.search(r"\b(?:to|at|via|through|into)\b", sentence[: match.end()]):
            return True
    return False


_STEERING: Final = re.compile(
    r"\b(?:instead|rather\ than|replaces?|supersedes?|deprecated|broken|unsafe|insecure|outdated"
    r"|compromised|never|do\ not|don['’]t|must|always|before|whenever|when|after)\b",
    re.VERBOSE,
)


def _steers(sentence: str, own: str, others: Collection[str]) -> str | None:
    """A foreign capability that the sentence says something about beyond naming it."""
    if not _STEERING.search(sentence):
        return None
    namespace = own.rpartition(".")[0]
    words = set(re.findall(r"[a-z0-9_.:/-]+[a-z0-9_]", sentence))
    for other in others:
        before, _, last = other.rpartition(".")
        if before == namespace or other == own:
            continue
        distinct = "_" in last or "-" in last
        if other.casefold() in words or (distinct and last.casefold() in words):
            return other
    return None


def _names(manifest: Manifest, others: Collection[str]) -> Iterator[Finding]:
    own, server = manifest.id, manifest.id.rpartition(".")[0]
    seen = {skeleton(own), skeleton(manifest.name)}
    for other in others:
        if other == own:
            continue
        namespace, _, last = other.rpartition(".")
        alike = skeleton(other) in seen
        same_last = own.rpartition(".")[2] == last
        nearly = same_last and len(server) > _SHORT_NAME and _one_apart(server, namespace)
        if alike or nearly:
            yield Finding(Poison.LOOKALIKE, "/id", f"{own} and {other}")
    if not manifest.name.isascii() and skeleton(manifest.name).isascii():
        yield Finding(Poison.LOOKALIKE, "/name", plain_text(manifest.name, limit=_EXCERPT))


_SHORT_NAME: Final = 4


def _one_apart(one: str, other: str) -> bool:
    """Whether one letter changed, added, left out or swapped with the next makes them equal."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    rest, other_rest = one[start:], other[start:]
    return (
        rest[1:] == other_rest[1:]
        or rest[1:] == other_rest
        or rest == other_rest[1:]
        or (rest[:2] == other_rest[1::-1] and rest[2:] == other_rest[2:])
    )


_GREEDY: Final = (
    {"conversation", "history"},
    {"chat", "history"},
    {"system", "prompt"},
    {"context", "window"},
    {"previous", "messages"},
    {"all", "messages"},
    {"tool", "outputs"},
    {"tool", "results"},
    {"chain", "thought"},
    {"environment", "variables"},
    {"sidenote"},
)


def _parameters(manifest: Manifest) -> Iterator[Finding]:
    """Parameters that ask for what the model knows rather than for what the tool needs."""
    schema = manifest.input_schema
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for name in properties if isinstance(properties, dict) else ():
        words = set(id_tokens(name))
        if any(greedy <= words for greedy in _GREEDY):
            yield Finding(Poison.EXFILTRATION, f"/input_schema/properties/{name}", name)
