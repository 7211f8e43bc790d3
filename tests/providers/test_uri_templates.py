"""URI Templates: the examples of RFC 6570, and what is none."""

from __future__ import annotations

import pytest

from ccos.providers.uri_templates import expand, template_variables

VALUES = {"var": "value", "hello": "Hello World!", "path": "/foo/bar", "empty": "", "x": "1024",
          "y": "768", "half": "50%", "base": "http://example.com/home/", "who": "fred"}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("{var}", "value"),
        ("{hello}", "Hello%20World%21"),
        ("{half}", "50%25"),
        ("O{empty}X", "OX"),
        ("O{undef}X", "OX"),
        ("{x,y}", "1024,768"),
        ("{var:3}", "val"),
        ("{+hello}", "Hello%20World!"),
        ("{+base}index", "http://example.com/home/index"),
        ("{+path:6}here", "/foo/bhere"),
        ("{#path,x}here", "#/foo/bar,1024here"),
        ("X{.x,y}", "X.1024.768"),
        ("{/var,x}/here", "/value/1024/here"),
        ("{;x,y,empty}", ";x=1024;y=768;empty"),
        ("{?x,y,empty}", "?x=1024&y=768&empty="),
        ("?fixed=yes{&x,undef}", "?fixed=yes&x=1024"),
        ("{?undef}", ""),
        ("/{who*}", "/fred"),
    ],
)
def test_expansion(template: str, uri: str) -> None:
    assert expand(template, VALUES) == uri


def test_which_variables_are_needed() -> None:
    assert template_variables("a://{x}/{+y}{/z}{?q,x}{&r}{#f}{;m}") == {
        "x": True, "y": True, "z": True, "q": False, "r": False, "f": False, "m": False,
    }  # fmt: skip
    assert template_variables("a://plain") == {}


@pytest.mark.parametrize("template", ["{", "a}", "{}", "{a b}", "{=a}", "{a:0}", "{a{b}}", "{,a}"])
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(ValueError, match=r"brace|expression"):
        template_variables(template)


def test_variables_are_limited() -> None:
    names = ",".join(f"v{number}" for number in range(101))
    with pytest.raises(ValueError, match="more than 100"):
        template_variables("{" + names + "}")
