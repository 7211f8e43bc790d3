"""What a program and its host say to each other."""

from __future__ import annotations

from typing import Any

import pydantic_monty as monty
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccos.rtfs.compiler import ANSWER_JSON, LIMITS, compile_module, dependencies
from ccos.rtfs.execution import CONTEXT, Failure, Host, HostRequest, Outcome, run


class Recorder:
    """A host that answers from a table and remembers what it was asked."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.requests: list[HostRequest] = []
        self.events: list[dict[str, Any]] = []
        self._answers = answers or {}

    def call(self, request: HostRequest) -> Outcome:
        self.requests.append(request)
        answer = self._answers.get(request.target, request.arguments)
        return answer if isinstance(answer, dict) and "error" in answer else {"value": answer}

    def host(self, **context: Any) -> Host:
        return Host(self.call, self.events.append, context)


def value_of(program: str, pool: monty.Monty, recorder: Recorder, **context: Any) -> Any:
    module = compile_module(program)
    return run(module, pool, host=recorder.host(**context), answer=ANSWER_JSON)


def test_a_call_says_everything_about_itself(pool: monty.Monty) -> None:
    recorder = Recorder()
    program = """
      (step "outer"
        ^{:runtime.learning.retry 3 :runtime.timeout 500}
        (step :inner
          ^{:runtime.retry {:max-retries 1}}
          (call :weather/current :city "Paris" {:when 2024-01-15T10:30:45Z :tags '(a :b)})))
      (call "plain.id" 1)"""
    assert value_of(program, pool, recorder) == [1]
    first, second = recorder.requests
    assert first.target == "weather/current"
    assert first.arguments == [
        "city",
        "Paris",
        {"when": "2024-01-15T10:30:45Z", "tags": ["a", "b"]},
    ]
    assert first.keywords == [0]
    assert first.hints == {"retry": {"max-retries": 1}, "timeout": 500}
    assert first.steps == ["outer", "inner"]
    assert first.line == 6
    assert (second.target, second.arguments, second.steps, second.hints) == (
        "plain.id",
        [1],
        [],
        None,
    )
    # Steps have keys of their own, so that a replay recognises them.
    assert first.key != second.key


def test_what_a_call_answers_becomes_values(pool: monty.Monty) -> None:
    answer = {"name": "x", "a b": [1, 2.5, None, True], "nested": {"ok": False}}
    recorder = Recorder({"a.b": answer})
    program = """
      (let [r (call :a.b)]
        [(:name r) (get r "a b") (:ok (:nested r)) (true? (nth (get r "a b") 3)) (pr-str r)])"""
    assert value_of(program, pool, recorder) == [
        "x",
        [1, 2.5, None, True],
        False,
        True,
        '{:name "x" "a b" [1 2.5 nil true] :nested {:ok false}}',
    ]


def test_the_type_of_an_answer_shapes_its_values(pool: monty.Monty) -> None:
    shape = ["record", {"state": ["keyword"], "n": ["int"]}, ["dict", True, None]]

    def call(request: HostRequest) -> Outcome:
        return {"value": {"state": "open", "n": 2.0, "by": {"a": 1}}, "shape": shape}

    module = compile_module("(pr-str (call :a.b) (step-parallel (:state (call :a.b))))")
    assert run(module, pool, host=Host(call), answer=ANSWER_JSON) == (
        '{:state :open :n 2 :by {"a" 1}} [:open]'
    )


@pytest.mark.parametrize(
    ("kind", "selector"),
    [("UnknownCapability", "HostError"), ("TimeoutError", ":timeout"), ("NetworkError", "e")],
)
def test_a_failure_is_an_error_of_its_kind(kind: str, selector: str, pool: monty.Monty) -> None:
    error = {"error": {"kind": kind, "message": "no", "data": {"why": 1}}}
    chosen = "e" if selector == "e" else f"{selector} e"
    program = f"(try (call :a.b) (catch {chosen} [(:message e) (:why (:data e))]))"
    assert value_of(program, pool, Recorder({"a.b": error})) == ["no", 1]
    failure = value_of("(do\n  (call :a.b))", pool, Recorder({"a.b": error}))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.data, failure.line) == (kind, {"why": 1}, 2)


def test_the_id_is_text(pool: monty.Monty) -> None:
    failure = value_of("(call 5)", pool, Recorder())
    assert isinstance(failure, Failure)
    assert failure.kind == "TypeError"
    assert value_of('(call (str "a" ".b") 1)', pool, Recorder()) == [1]


def test_a_function_does_not_cross_the_boundary(pool: monty.Monty) -> None:
    failure = value_of("(call :a.b inc)", pool, Recorder())
    assert isinstance(failure, Failure)
    assert failure.kind == "TypeError"


def test_calls_in_functions_and_loops(pool: monty.Monty) -> None:
    recorder = Recorder()
    program = """
      (defn ask [n] (first (call :ask n)))
      [(map ask [1 2]) (map (fn [x] (first (call :direct x))) [3])
       (reduce (fn [a x] (+ a (ask x))) 0 [4 5]) (map println ["p"])]"""
    assert value_of(program, pool, recorder) == [[1, 2], [3], 9, [["p"]]]
    assert [one.target for one in recorder.requests] == [
        "ask",
        "ask",
        "direct",
        "ask",
        "ask",
        "ccos.io.println",
    ]
    keys = [one.key for one in recorder.requests]
    assert keys == sorted(set(keys), key=int)


def test_steps_and_log_lines_are_events(pool: monty.Monty) -> None:
    recorder = Recorder()
    program = """
      (step :info "hello" {:n 1})
      (step "work" (step "bad" (try (/ 1 0) (catch e nil))) (/ 1 0))"""
    failure = value_of(program, pool, recorder)
    assert isinstance(failure, Failure)
    told = [(one["event"], one.get("label") or one.get("message")) for one in recorder.events]
    assert told == [
        ("log", "hello"),
        ("step-started", "work"),
        ("step-started", "bad"),
        ("step-completed", "bad"),
        ("step-failed", "work"),
    ]
    assert recorder.events[-1]["message"] == "division by zero"


def test_the_context_is_read_and_written(pool: monty.Monty) -> None:
    recorder = Recorder()
    program = """
      [@user (get :user) (context/get :none 1) (context/set :user "b") @user <deep/key>
       (:a @object)]"""
    found = value_of(program, pool, recorder, user="a", object={"a": 1}, **{"deep/key": 2})
    assert found == ["a", "a", 1, None, "a", 2, 1]
    assert [(one["event"], one["name"], one["value"]) for one in recorder.events] == [
        ("context-set", "user", "b")
    ]


def test_parallel_branches_wait_together(pool: monty.Monty) -> None:
    rounds: list[list[str]] = []

    class Together(Host):
        def answers(self) -> dict[str, Any]:
            return {**super().answers(), "rtfs_calls": self.together}

        def together(self, requests: list[Any]) -> dict[str, Outcome]:
            rounds.append([request[0] for request in requests])
            return {request[0]: {"value": request[2][0]} for request in requests}

    program = """
      (defn work [n] (let [a (call :one n) b (call :two (+ a 1))] (+ a b)))
      (call :before 0)
      (step-parallel (work 1) 7 (step-parallel (work 10) (work 20)) (call :last 9))"""
    module = compile_module(program)
    host = Together(lambda request: {"value": 0})
    assert run(module, pool, host=host, answer=ANSWER_JSON) == [3, 7, [21, 41], 9]
    assert rounds == [
        ["1/0/0", "1/2/0/0/0", "1/2/0/1/0", "1/3/0"],
        ["1/0/1", "1/2/0/0/1", "1/2/0/1/1"],
    ]


def test_a_branch_does_not_wait_for_the_others(pool: monty.Monty) -> None:
    """The host may answer some calls and let others wait."""
    rounds: list[list[str]] = []

    class Slow(Host):
        def answers(self) -> dict[str, Any]:
            return {**super().answers(), "rtfs_calls": self.together}

        def together(self, requests: list[Any]) -> dict[str, Outcome]:
            rounds.append([request[1] for request in requests])
            quick = [request for request in requests if request[1] != "slow"] or requests
            return {request[0]: {"value": request[2][0]} for request in quick}

    program = """
      (step-parallel (call :slow 1)
                     (do (step "s" (call :quick 2)) (call :quick 3)))"""
    recorder = Recorder()
    module = compile_module(program)
    host = Slow(recorder.call, recorder.events.append)
    assert run(module, pool, host=host, answer=ANSWER_JSON) == [1, 3]
    assert rounds == [["slow", "quick"], ["slow", "quick"], ["slow"]]
    assert [one["event"] for one in recorder.events] == ["step-started", "step-completed"]


def test_the_first_branch_that_failed_is_told_once_all_settled(pool: monty.Monty) -> None:
    recorder = Recorder()
    program = '(step-parallel (call :a 1) (/ 1 0) (do (call :b 2) (throw "late")))'
    failure = value_of(program, pool, recorder)
    assert isinstance(failure, Failure)
    assert failure.kind == "DivisionByZero"
    assert [one.target for one in recorder.requests] == ["a", "b"]


PLAN = """
(defn fetch [n]
  (try (:v (call :fetch {:n n}))
    (catch CapabilityError e (- n))
    (finally (step :info "fetched"))))
(defn total [xs] (reduce (fn [sum x] (+ sum (fetch x))) 0 xs))
(let [fs (map (fn [n] (fn [] (* n (total [n 1])))) [1 2])]
  (loop [i 0 seen []]
    (if (< i 2)
      (recur (inc i) (conj seen (step "round" ((nth fs i)))))
      {:seen seen :more (step-parallel (fetch 3) (fetch 4) (total [5 6]))})))
"""


def answer(request: tuple[Any, ...]) -> Outcome:
    number = request[2][0]["n"]
    if number == 4:
        return {"error": {"kind": "CapabilityError", "message": "no"}}
    return {"value": {"v": number * 10}}


def driven(pool: monty.Monty, parked: set[int], journal: dict[str, Outcome] | None) -> Any:
    """Run the plan call by call; at the given calls the worker is given away in between."""
    source = compile_module(PLAN).source(ANSWER_JSON)
    names = {"rtfs_call", "rtfs_calls", "rtfs_event"}
    session = pool.checkout(limits=LIMITS).__enter__()
    try:
        snapshot: Any = session.feed_start(source, inputs={CONTEXT: {}})
        count = 0
        while not isinstance(snapshot, monty.MontyComplete):
            if isinstance(snapshot, monty.NameLookupSnapshot):
                assert snapshot.variable_name in names
                snapshot = snapshot.resume(value=_function(snapshot.variable_name))
                continue
            if count in parked:
                blob = snapshot.dump()
                session.__exit__(None, None, None)
                session = pool.checkout(limits=LIMITS).__enter__()
                snapshot = session.load_snapshot(blob)
            count += 1
            snapshot = snapshot.resume({"return_value": _answered(snapshot, journal)})
        return snapshot.output
    finally:
        session.__exit__(None, None, None)


def _function(name: str) -> Any:
    def function(*_: Any) -> None:
        """Its calls come to whoever drives the session."""

    function.__name__ = name
    return function


def _answered(snapshot: Any, journal: dict[str, Outcome] | None) -> Any:
    name, arguments = snapshot.function_name, snapshot.args
    if name == "rtfs_event":
        return None
    requests = [arguments] if name == "rtfs_call" else arguments[0]
    outcomes: dict[str, Outcome] = {}
    for request in requests:
        if journal is not None:
            outcomes[request[0]] = journal.setdefault(request[0], answer(request))
        else:
            outcomes[request[0]] = answer(request)
    return outcomes[arguments[0]] if name == "rtfs_call" else outcomes


@given(st.sets(st.integers(0, 20), max_size=4))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_parked_plan_gives_what_one_that_never_parked_gives(
    pool: monty.Monty, parked: set[int]
) -> None:
    wanted = {"seen": [20, 60], "more": [30, -4, 110]}
    assert driven(pool, set(), None) == wanted
    assert driven(pool, parked, None) == wanted


def test_a_replayed_plan_asks_for_the_same(pool: monty.Monty) -> None:
    journal: dict[str, Outcome] = {}
    first = driven(pool, set(), journal)
    keys = list(journal)
    assert driven(pool, set(), journal) == first
    assert list(journal) == keys


def test_dependencies_are_those_of_the_syntax_tree() -> None:
    program = """
      ; (call :in.a.comment)
      (defn f [] "(call :in.a.string)" (call :one 1))
      #_ (call :dropped)
      {(call :in.a.key) [(fn [] (call "two"))]}
      (match 1 (x :when (call :guard)) x)
      ^{:runtime.learning.fallback {:capability :spare}} (call (str "computed"))
      '(call :quoted)
      (map println [])"""
    found = [(one.identifier, one.reason) for one in dependencies(program)]
    assert found == [
        ("one", "call"),
        ("in.a.key", "call"),
        ("two", "call"),
        ("guard", "call"),
        ("spare", "fallback"),
        (None, "call"),
        ("ccos.io.println", "call"),
    ]
