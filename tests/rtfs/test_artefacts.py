from __future__ import annotations

from typing import Any

import pydantic_monty as monty
import pytest

from ccos.capabilities import EffectType
from ccos.errors import SecurityViolationError
from ccos.rtfs.artefacts import CapabilityArtefact, load_artefacts
from ccos.rtfs.compiler import LIMITS
from ccos.rtfs.diagnostics import RtfsSyntaxError
from ccos.rtfs.printer import printed
from ccos.rtfs.reader import read
from ccos.rtfs.schemas import NotRepresentableError

GREETING = """
(defn polite [name] (str "Dear " name))
(defn unused [] (call :never.called))
(deftype Name [:and :string [:non-empty]])

; a capability with a type of its own
(capability :letters/greeting
  :version "1.2.0"
  :description "Greets"
  :input-schema [:map [:name Name] [:times :int ?]]
  :output-schema :string
  :implementation (fn [input] (str (polite (:name input)) "!"))
  :domains [:letters]
  :owner "me")
"""


def only(text: str) -> CapabilityArtefact:
    [capability] = load_artefacts(text).capabilities
    return capability


def result_of(capability: CapabilityArtefact, given: Any, pool: monty.Monty) -> Any:
    assert capability.program is not None
    source = capability.program.source("to_json(implementation(from_json(given)))")
    with pool.checkout(limits=LIMITS) as session:
        return session.feed_run(source, inputs={"given": given})


def test_a_capability_is_loaded_and_runs(pool: monty.Monty) -> None:
    capability = only(GREETING)
    assert result_of(capability, {"name": "Ada"}, pool) == "Dear Ada!"
    assert (capability.id, capability.version) == ("letters.greeting", "1.2.0")
    assert capability.effect is EffectType.PURE
    assert capability.dependencies == ()
    assert capability.domains == ("letters",)
    assert capability.others == {"owner": '"me"'}
    assert [one.kind for one in capability.warnings] == ["Key"]
    assert capability.input_schema is not None
    assert capability.input_schema["required"] == ["name"]
    assert capability.output_schema == {"type": "string"}


def test_calls_are_found_through_helpers_and_nowhere_else() -> None:
    capability = only("""
      (defn fetch [x] (call :weather/current x))
      (defn unused [] (call :never.called))
      (capability "w.report" :version "1.0"
        :implementation (do
          ; (call :in.a.comment)
          (str "(call :in.a.string)" '(call :in.a.quote))
          ^{:runtime.fallback {:capability :weather.old}} (fetch input)
          (call (str "computed" 1))))""")
    assert [(one.canonical, one.reason) for one in capability.dependencies] == [
        ("weather.current", "call"),
        ("weather.old", "fallback"),
        (None, "call"),
    ]
    assert capability.calls_dynamically
    assert capability.effect is EffectType.EFFECTFUL


def test_a_version_wish_is_no_part_of_the_id() -> None:
    capability = only('(capability "a" :version "1.0.0" :implementation (call :com.acme:v1.0/foo))')
    [dependency] = capability.dependencies
    assert (dependency.canonical, dependency.version) == ("com.acme.foo", "1.0")


def test_parameters_are_bound(pool: monty.Monty) -> None:
    capability = only(
        '(capability "a.sum" :version "1.0.0" :parameters {:x :int :y :int}'
        " :implementation (+ x y))"
    )
    assert capability.input_schema == {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
        "required": ["x", "y"],
    }
    assert capability.program is not None
    assert capability.program.warnings == ()
    assert result_of(capability, {"x": 40, "y": 2}, pool) == 42


def test_a_provider_instead_of_an_implementation() -> None:
    capability = only(
        '(capability "a.b" :version "1.0.0" :provider {:type :http :url "https://example.org"})'
    )
    assert capability.provider == {"type": "http", "url": "https://example.org"}
    assert capability.program is None


def test_saying_pure_and_calling_is_refused() -> None:
    text = '(capability "a.b" :version "1.0.0" :effect :pure :implementation {})'
    with pytest.raises(SecurityViolationError):
        load_artefacts(text.format("(call :x.y)"))
    assert only(text.format("(+ 1 2)")).effect is EffectType.PURE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('(capability "a.b" :implementation 1)', "`:version`"),
        ('(capability "a.b" :version "1.0.0")', "either"),
        ('(capability "a.b" :version "1.0.0" :implementation 1 :provider {:type :x})', "either"),
        ('(capability "a.b" :version "1.0.0" :version "2.0.0" :implementation 1)', "twice"),
        ('(capability "a b" :version "1.0.0" :implementation 1)', "U+0020"),
        ('(capability "a.b" :version "x" :implementation 1)', "semantic version"),
        ('(capability "a.b" :version "1.0.0" :input-schema [:strange] :implementation 1)', "type"),
        ('(capability "a.b" :version "1.0.0" :provider {:type :http :token "t"})', "secret"),
        ("(+ 1 2)", "definitions only"),
        ("(capability)", "id"),
        ('(plan :name "p")', "`:body`"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(RtfsSyntaxError) as caught:
        load_artefacts(text)
    assert message in caught.value.report.rendered()


def test_a_function_cannot_cross_the_boundary() -> None:
    with pytest.raises(NotRepresentableError):
        load_artefacts('(capability "a.b" :version "1.0.0" :input-schema :fn :implementation 1)')


def test_the_hash_sees_meaning_and_not_layout() -> None:
    same = GREETING.replace("; a capability with a type of its own", "").replace("\n  :", " :")
    assert only(same).hash == only(GREETING).hash
    assert only(GREETING.replace("Dear", "Hello")).hash != only(GREETING).hash
    assert only(GREETING.replace("never.called", "other")).hash == only(GREETING).hash


def test_a_capability_prints_as_it_reads() -> None:
    capability = only(GREETING)
    assert read(capability.printed()).forms == (capability.form,)
    assert printed(capability.form).startswith("(capability :letters/greeting :version")


def test_plans_and_a_wrapping_do() -> None:
    found = load_artefacts("""
      (do
        (defn twice [x] (* 2 x))
        (plan :name "p" :body (call :a.b (twice 21)))
        (capability "c.d" :version "1.0.0" :implementation (twice (:n input))))""")
    assert [one.name for one in found.plans] == ["p"]
    assert [one.id for one in found.capabilities] == ["c.d"]
    [dependency] = found.plans[0].program.dependencies
    assert dependency.canonical == "a.b"
