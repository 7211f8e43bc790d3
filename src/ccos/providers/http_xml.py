"""JSON data written as XML, as the ``xml`` of an OpenAPI schema says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ccos.capabilities import JsonSchema
from ccos.errors import InvalidArgumentsError
from ccos.providers.parameter_styles import plain_text

_NAME: Final = re.compile(r"[A-Za-z_À-ÖØ-öø-˿Ͱ-ͽͿ-῿][\w.\-·]*")
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MAXIMUM_DEPTH: Final = 64
_MAXIMUM_HOPS: Final = 32
_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>'

_Schema = Mapping[str, Any]


def xml_text(value: Any, input_schema: JsonSchema, argument: str) -> str:
    """An argument as an XML document (OpenAPI 3.0 to 3.2, XML Object).

    Args:
        value: The argument.
        input_schema: The schema of all arguments; ``xml`` of this one names the root element.
        argument: The argument's name.

    Raises:
        InvalidArgumentsError: A name or a character has no place in XML 1.0.
    """
    root: _Schema = input_schema if isinstance(input_schema, dict) else {}
    properties = root.get("properties")
    schema = properties.get(argument) if isinstance(properties, dict) else None
    writer = _Writer(root)
    described = writer.resolved(schema)
    return _DECLARATION + writer.element(argument, value, described, 0)


class _Writer:
    def __init__(self, root: _Schema) -> None:
        definitions = root.get("$defs")
        self._definitions: _Schema = definitions if isinstance(definitions, dict) else {}

    def resolved(self, schema: Any) -> _Schema:
        """The schema behind references; ``xml`` beside a reference counts."""
        xml: dict[str, Any] = {}
        for _ in range(_MAXIMUM_HOPS):
            if not isinstance(schema, dict):
                break
            xml = _settings(schema) | xml
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                return {**schema, "xml": xml}
            schema = self._definitions.get(reference.removeprefix("#/$defs/"))
        return {"xml": xml}

    def element(self, name: str, value: Any, schema: _Schema, depth: int) -> str:
        """A value as the element or elements that stand for it; nothing for null."""
        if depth > _MAXIMUM_DEPTH:
            raise InvalidArgumentsError("The argument is nested too deeply to be written as XML.")
        xml = _settings(schema)
        if value is None:
            return ""
        if isinstance(value, list):
            return self._list(name, value, schema, xml, depth)
        tag, declared = _tag(name, xml)
        if not isinstance(value, dict):
            return f"<{tag}{declared}>{_escaped(plain_text(value))}</{tag}>"
        attributes, content = declared, ""
        for field, item in value.items():
            described = self.resolved(self._property(schema, field))
            settings = _settings(described)
            node = settings.get("nodeType")
            if settings.get("attribute") is True or node == "attribute":
                if item is not None:
                    key, more = _tag(field, settings)
                    attributes += f'{more} {key}="{_escaped(plain_text(item), quote=True)}"'
            elif node in ("text", "cdata"):
                content += _escaped(plain_text(item))
            else:
                content += self.element(field, item, described, depth + 1)
        return f"<{tag}{attributes}>{content}</{tag}>"

    def _list(self, name: str, value: list[Any], schema: _Schema, xml: _Schema, depth: int) -> str:
        item_schema = self.resolved(schema.get("items"))
        wrapped = xml.get("wrapped") is True or xml.get("nodeType") == "element"
        tag, declared = _tag(name, xml) if wrapped else (name, "")
        # The name of the list names its wrapper; items have their own name or the outer one.
        inner = tag.rpartition(":")[2] if wrapped else name
        items = "".join(self.element(inner, item, item_schema, depth + 1) for item in value)
        return f"<{tag}{declared}>{items}</{tag}>" if wrapped else items

    def _property(self, schema: _Schema, name: str, depth: int = 0) -> Any:
        properties = schema.get("properties")
        if isinstance(properties, dict) and name in properties:
            return properties[name]
        for keyword in ("allOf", "oneOf", "anyOf"):
            parts = schema.get(keyword)
            for part in parts if isinstance(parts, list) and depth < _MAXIMUM_HOPS else ():
                found = self._property(self.resolved(part), name, depth + 1)
                if found is not None:
                    return found
        return None


def _settings(schema: _Schema) -> dict[str, Any]:
    xml = schema.get("xml")
    return dict(xml) if isinstance(xml, dict) else {}


def _tag(name: str, xml: _Schema) -> tuple[str, str]:
    """The name of an element or attribute, and the namespace that it declares."""
    given, prefix, namespace = (xml.get(key) for key in ("name", "prefix", "namespace"))
    tag = given if isinstance(given, str) and given else name
    if not _NAME.fullmatch(tag):
        raise InvalidArgumentsError(f"{tag[:100]!r} cannot be the name of an XML element.")
    if not isinstance(prefix, str) or not _NAME.fullmatch(prefix):
        prefix = ""
    declared = ""
    if isinstance(namespace, str) and namespace:
        declared = f' xmlns{":" if prefix else ""}{prefix}="{_escaped(namespace, quote=True)}"'
    return (f"{prefix}:{tag}" if prefix else tag), declared


def _escaped(text: str, *, quote: bool = False) -> str:
    if _FORBIDDEN.search(text):
        raise InvalidArgumentsError("A text argument holds a character that XML cannot carry.")
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if not quote:
        return plain.replace("\r", "&#13;")
    for character, entity in (('"', "&quot;"), ("\t", "&#9;"), ("\n", "&#10;"), ("\r", "&#13;")):
        plain = plain.replace(character, entity)
    return plain
