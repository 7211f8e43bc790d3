"""What is said of a program before it runs, and where it says a run failed."""

from __future__ import annotations

import time

import pydantic_monty as monty
import pytest

from ccos.rtfs.cases import outcome_of
from ccos.rtfs.compiler import check, compile_module
from ccos.rtfs.diagnostics import RtfsSyntaxError
from ccos.rtfs.execution import Failure

QUIET = """
(defn add [a :int b :int] :int (+ a b))
(def later (fn [] (after 1)))
(defn after [x] x)
(match (add 1 2) 1 :one (n :when (> n 5)) :big _ :other)
^{:runtime.retry 2} (call :a.b)
"""


def test_a_good_program_is_passed_over_in_silence() -> None:
    assert check(QUIET).diagnostics == ()


@pytest.mark.parametrize(
    ("program", "kind", "line", "column"),
    [
        ("(do\n  (strng-length x))", "UndefinedSymbol", 2, 4),
        ("(defn f [a] a)\n(f 1 2)", "ArityMismatch", 2, 1),
        ("(inc 1 2)", "ArityMismatch", 1, 1),
        ('(+ 1 "a")', "TypeError", 1, 1),
        ("(defn f [a :int] a) (f :k)", "TypeValidationError", 1, 24),
        ('(let [x : Int "a"] x)', "TypeValidationError", 1, 7),
        ("(match 1 _ 2 3 4)", "Unreachable", 1, 14),
        ("(match 1 2 3 2 4)", "Unreachable", 1, 14),
        ("(/ 5 0)", "DivisionByZero", 1, 1),
        ("(import nowhere)", "ModuleNotFound", 1, 9),
        ("^{:runtime.strange 1} 2", "UnknownHint", 1, 3),
        ("(try 1 (catch Strange e 2))", "UnknownKind", 1, 15),
    ],
)
def test_what_is_doubtful_is_a_warning(program: str, kind: str, line: int, column: int) -> None:
    report = check(program)
    assert report.errors == ()
    places = [(one["kind"], one["line"], one["column"]) for one in report.as_data()]
    assert (kind, line, column) in places


def test_a_misspelt_name_gets_a_suggestion() -> None:
    [warning, *_] = check("(strng-length 1)").diagnostics
    assert warning.hint == "did you mean `string-length`?"


def test_all_errors_of_a_program_are_told() -> None:
    lines = ["(if)", "(let [x] x)", "(fn [& [a]] a)", "(recur 1)", "(def if 1)"]
    report = check("\n".join([*lines, "(let [x : [:and :int [:odd]] 1] x)"]))
    errors = [one["line"] for one in report.as_data() if one["severity"] == "error"]
    assert errors == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    "program",
    [
        "(if)",
        "(let x 5)",
        "(let [x])",
        "(fn x)",
        "(fn [x])",
        "(fn ([a] 1) ([b] 2))",
        "(loop [x 1])",
        "(match 1)",
        "(for [x] 1)",
        "(try 1 (finally 1) (finally 2))",
        "(try 1 (catch e) 2)",
        "(cond 1)",
        "(call)",
        "(step)",
        "(step x 1)",
        "(resource:ref)",
        "(quote)",
        "~x",
        "`~@x",
        "(defmacro m)",
        "(let [] (defmacro m [] 1))",
        "(module)",
        "(module m (+ 1 2))",
        "(module m (def x (call :a.b)))",
        "(import)",
        "(defmacro m [x] (call :a.b x)) (m 1)",
        "(defmacro m [x] `(m ~x)) (m 1)",
        "(defmacro m [x] `x) (m)",
        "(defmacro m [] inc) (m)",
        "(deftype A [:vector :int :int])",
        "(defstruct A :x)",
        "(dotimes 5 1)",
        "(parallel 5)",
        "(x : 1 2)",
        "{:a}",
        "(lambda [[a]] a)",
        "(fn [a & b c] 1)",
        "(let [[a & b c] 1] 1)",
    ],
)
def test_what_is_no_program_is_refused(program: str) -> None:
    with pytest.raises(RtfsSyntaxError):
        compile_module(program)
    assert check(program).errors


@pytest.mark.parametrize(
    ("program", "line", "column"),
    [
        ("(+ 1\n   (/ 1 0))", 2, 4),
        ("(defn f [x]\n  (str\n    (nth x 5)))\n(f [1])", 3, 5),
        ("(let [x 1]\n  (foo x))", 2, 4),
        ("(map (fn [x]\n  (+ x :a)) [1])", 2, 3),
        ("(defn f [x] (g x))\n(defn g [x] (:k (inc x)))\n(f 1)", 2, 13),
        ("(loop [i 3]\n  (if (> i -1)\n    (recur (- (dec i) (/ 0 i)))\n    i))", 3, 23),
        ("(match 5\n  6 1)", 1, 1),
        ('(throw\n "x")', 1, 1),
        ("(defmacro m [x] `(do ~x))\n(m (/ 1 0))", 2, 4),
        ("(defmacro m [x] (list 'do x))\n(m\n (/ 1 0))", 3, 2),
        ("(let [f (fn [x : Int] x)]\n  (f 1.5))", 1, 14),
    ],
)
def test_a_run_that_fails_names_the_place(
    program: str, line: int, column: int, pool: monty.Monty
) -> None:
    outcome = outcome_of(program, pool)
    assert isinstance(outcome, Failure)
    assert (outcome.line, outcome.column) == (line, column)


def test_generated_text_is_readable() -> None:
    module = compile_module("""
      (defn area [w h] (* w h))
      (defn visits [days] (loop [n 0] (if (< n days) (recur (+ n 2)) n)))
      (defn label [x] (match x {:k [a _]} (str "pair " a) _ (if (area x x) :yes :no)))""")
    assert module.python == (
        "def area(w, h):\n"
        "    return +w * +h\n"
        "def visits(days):\n"
        "    n = 0\n"
        "    while n < days:\n"
        "        n = n + 2\n"
        "    return n\n"
        "def label(x):\n"
        "    if type(x) is dict and b'k' in x and (type(x[b'k']) is list or type(x[b'k']) is tuple)"
        " and len(x[b'k']) == 2:\n"
        "        a = x[b'k'][0]\n"
        "        return 'pair ' + text(a)\n"
        "    if (t := area(x, x)) is not None and t is not FALSE:\n"
        "        return b'yes'\n"
        "    return b'no'\n"
        "result = label"
    )


def test_a_compiled_module_names_its_functions_and_hash() -> None:
    module = compile_module("(defn f [a b] a) (defn g ([x] x) ([x & y] y))")
    assert [(one.name, one.parameters, one.arities) for one in module.functions] == [
        ("f", ("a", "b"), ("2",)),
        ("g", (), ("1", "1 or more")),
    ]
    assert module.hash == compile_module(module.text).hash
    assert module.hash != compile_module(module.text + " 1").hash


def test_modules_come_from_the_host(pool: monty.Monty) -> None:
    texts = {
        "geo": "(module geo (:exports [area]) (import units :as u) (defn area [w] (u/twice w)))",
        "units": "(defn twice [x] (* 2 x))",
        "loop": "(module loop (import loop))",
        "bad": "(module bad (if))",
    }
    module = compile_module("(import geo :as g) (g/area 4)", module_source=texts.get)
    with pool.checkout() as session:
        assert session.feed_run(module.source()) == 8
    assert "ModuleError" in {
        one.kind for one in check("(import loop)", module_source=texts.get).diagnostics
    }
    assert check("(import bad)", module_source=texts.get).errors


def test_every_fault_inside_a_form_is_told() -> None:
    program = """
(defn f [x]
  (if)
  (let [y] y)
  (do (recur 1 2) 3))
[(if) {:a (let [])} (cond 1)]
(let [a (if) b (let)] (if))"""
    assert [one["line"] for one in check(program).as_data()] == [3, 4, 5, 6, 6, 6, 7, 7, 7]


def test_macros_without_end_are_stopped_in_time() -> None:
    begun = time.monotonic()
    [found] = check("(defmacro m [x] `[(m ~x) (m ~x)]) (m 1)").errors[-1:]
    assert "macro" in found.message
    assert time.monotonic() - begun < 60
    assert not check("(defmacro m [x] `[~x ~x]) (m 1)").errors
