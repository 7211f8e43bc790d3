"""``ccos rtfs register``: capabilities of a file, and calls of them afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from interfaces.conftest import Run

FILE = """
(defn shout [text] (string-upper text))
(capability :text/shout
  :version "1.2.0"
  :description "Says it loudly"
  :parameters {:text [:and :string [:non-empty]]}
  :output-schema :string
  :implementation (str (shout text) (call :crucible.basic/string-trim " ! ")))
(capability "text.remote"
  :version "1.0.0"
  :provider {:type :http :base-url "https://api.example.org" :path "/now"}
  :domains [:text])
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "text.rtfs"
    path.write_text(FILE)
    return path


def test_what_a_file_defines_is_registered_and_called(ccos: Run, file: Path) -> None:
    shown = ccos("rtfs", "register", file, "--by", "me", "--dry-run", "--json").json["capabilities"]
    assert [(one["capability"], one["provider"], one["result"]) for one in shown] == [
        ("text.shout", "script", "would be registered"),
        ("text.remote", "http", "would be registered"),
    ]
    assert ccos("capabilities", "list", "--json").json["capabilities"] == []
    assert ccos("rtfs", "register", file, "--by", "me").code == 0
    called = ccos("call", "text.shout", "-a", "text=hello", "--json")
    assert called.json["value"] == "HELLO!"
    assert ccos("call", "text.shout", "-a", "text=").code != 0
    # From a plan in RTFS as well.
    plan = file.with_name("plan.rtfs")
    plan.write_text('(call :text/shout "a")')
    assert ccos("rtfs", "run", plan, "--json").json["value"] == "A!"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('(capability :a.b :version "1.0.0" :implementation (call :c.d))', "c.d"),
        ('(capability :a.b :version "1.0.0" :implementation (call (str :c)))', "computes"),
        ('(capability :a.b :version "1.0.0")', "either"),
        ("(+ 1 2)", "definitions only"),
        (
            '(capability :a.b :version "1.0.0" :provider {:type :http :password "x"})',
            "secret",
        ),
        ('(capability :a.b :version "1.0.0" :provider {:type :nosuch})', "nosuch"),
    ],
)
def test_what_cannot_be_a_capability_is_refused_and_nothing_registered(
    ccos: Run, file: Path, text: str, said: str
) -> None:
    file.write_text(f"{FILE}\n{text}")
    result = ccos("rtfs", "register", file, "--by", "me")
    assert result.code != 0
    assert said in result.err
    assert ccos("capabilities", "list", "--json").json["capabilities"] == []


def test_somebody_has_to_vouch(ccos: Run, file: Path) -> None:
    assert ccos("rtfs", "register", file, "--by", " ").code == 2
    assert ccos("rtfs", "register", file).code == 2
