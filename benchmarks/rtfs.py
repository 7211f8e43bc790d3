"""What RTFS costs beside the same program written by hand in Python, both on Monty.

Each program is compiled once and run many times, in the same worker, in turn with its Python
twin. Compiling a module of 1,000 lines is timed as well. Exit status 1 if a median is above its
limit. Run it with ``make bench``.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pydantic_monty as monty

from ccos.rtfs.compiler import LIMITS, compile_module

ROUNDS = 31
RATIO_LIMIT = 1.5
COMPILE_LIMIT_MS = 150.0


@dataclass(frozen=True)
class Pair:
    """One program in both languages; they define ``run`` and ``python_run``."""

    name: str
    rtfs: str
    python: str


PAIRS = (
    Pair(
        "fib 20",
        """
        (defn fib [n] (if (<= n 1) n (+ (fib (- n 1)) (fib (- n 2)))))
        (defn run [] (fib 20))
        """,
        """
def python_fib(n):
    if n <= 1:
        return n
    return python_fib(n - 1) + python_fib(n - 2)

def python_run():
    return python_fib(20)
""",
    ),
    Pair(
        "loop of 100,000",
        """
        (defn run [] (loop [i 0 total 0]
                       (if (< i 100000) (recur (+ i 1) (+ total (* i 2))) total)))
        """,
        """
def python_run():
    i = 0
    total = 0
    while i < 100000:
        total = total + i * 2
        i = i + 1
    return total
""",
    ),
    Pair(
        "map, filter, reduce over 10,000",
        """
        (def numbers (range 10000))
        (defn run []
          (reduce + 0 (filter (fn [x] (> x 100)) (map (fn [x] (+ (* x 3) 1)) numbers))))
        """,
        """
python_numbers = list(range(10000))

def python_run():
    mapped = [x * 3 + 1 for x in python_numbers]
    total = 0
    for x in [x for x in mapped if x > 100]:
        total = total + x
    return total
""",
    ),
    Pair(
        "pattern matching",
        """
        (def shapes (map (fn [i] (if (even? i) {:type :circle :r i} {:type :box :w i :h 2}))
                         (range 2000)))
        (defn area [shape]
          (match shape
            {:type :circle :r r} (* 3 r r)
            {:type :box :w w :h h} (* w h)
            _ 0))
        (defn run [] (reduce (fn [total shape] (+ total (area shape))) 0 shapes))
        """,
        """
python_shapes = [
    {"type": "circle", "r": i} if i % 2 == 0 else {"type": "box", "w": i, "h": 2}
    for i in range(2000)
]

def python_area(shape):
    match shape:
        case {"type": "circle", "r": r}:
            return 3 * r * r
        case {"type": "box", "w": w, "h": h}:
            return w * h
        case _:
            return 0

def python_run():
    total = 0
    for shape in python_shapes:
        total = total + python_area(shape)
    return total
""",
    ),
    Pair(
        "string building",
        """
        (defn line [i] (loop [j 0 text ""]
                         (if (< j 20) (recur (inc j) (str text "cell " j ", ")) text)))
        (defn run [] (count (join "\\n" (map (fn [i] (str i ": " (line i))) (range 200)))))
        """,
        """
def python_line(i):
    j = 0
    text = ""
    while j < 20:
        text = text + "cell " + str(j) + ", "
        j = j + 1
    return text

def python_run():
    return len("\\n".join([str(i) + ": " + python_line(i) for i in range(200)]))
""",
    ),
    Pair(
        "100 host calls",
        """
        (defn run []
          (loop [i 0 total 0]
            (if (< i 100) (recur (inc i) (+ total (:value (call :bench.echo {:value i})))) total)))
        """,
        """
def python_run():
    total = 0
    for i in range(100):
        total = total + rtfs_call("bench.echo", value=i)["value"]["value"]
    return total
""",
    ),
)


def echo(*request: Any, **values: Any) -> dict[str, Any]:
    """Answer a call with what it was given; Python's has named values."""
    return {"value": values or request[2][0]}


def milliseconds(session: monty.MontySession, function: str) -> float:
    """How long one run takes."""
    started = time.perf_counter()
    session.feed_run(f"{function}_answer = {function}()", external_lookup={"rtfs_call": echo})
    return (time.perf_counter() - started) * 1e3


def compare(pair: Pair, pool: monty.Monty) -> tuple[float, float]:
    """Medians of RTFS and Python in one worker, in milliseconds."""
    module = compile_module(pair.rtfs, pair.name)
    with pool.checkout(limits=LIMITS) as session:
        session.feed_run(module.source("None"))
        session.feed_run(pair.python)
        rtfs: list[float] = []
        python: list[float] = []
        for _ in range(ROUNDS):
            rtfs.append(milliseconds(session, "run"))
            python.append(milliseconds(session, "python_run"))
        if not session.feed_run("run_answer == python_run_answer"):
            raise SystemExit(f"{pair.name}: the two programs differ")
    return statistics.median(rtfs), statistics.median(python)


def long_module(lines: int) -> str:
    """A module of so many lines, of the kinds of forms that plans are made of."""
    part = """
(defn total-{n} [orders]
  (let [open (filter (fn [o] (= (:state o) :open)) orders)
        sums (map (fn [o] (* (:price o) (:count o))) open)]
    (if (empty? open)
      0
      (reduce + 0 sums))))
(defn label-{n} [order]
  (match order
    {{:state :open :name n}} (str "open: " n)
    {{:state :sent}} (call :post.track (:id order))
    _ "unknown"))
(def limit-{n} {n})
; a comment between two parts
(defn safe-{n} [x]
  (try
    (/ limit-{n} x)
    (catch DivisionByZero e nil)))
"""
    count = lines // part.count("\n")
    return "".join(part.format(n=n) for n in range(count + 1))


def compile_time() -> tuple[float, int]:
    """The median of compiling a long module, in milliseconds, and its lines."""
    text = long_module(1000)
    compile_module(text)
    times: list[float] = []
    for _ in range(7):
        started = time.perf_counter()
        compile_module(text)
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times), text.count("\n")


def main() -> None:
    """Print the table and fail if a median is above its limit."""
    print(
        f"Python {platform.python_version()}, pydantic-monty {version('pydantic-monty')}, "
        f"{platform.machine()}, {ROUNDS} rounds, medians"
    )
    too_slow = False
    with monty.Monty(max_processes=1) as pool:
        for pair in PAIRS:
            rtfs, python = compare(pair, pool)
            ratio = rtfs / python
            too_slow |= ratio > RATIO_LIMIT
            print(f"{pair.name:34} RTFS {rtfs:8.2f} ms  Python {python:8.2f} ms  ratio {ratio:.2f}")
    compiling, lines = compile_time()
    too_slow |= compiling > COMPILE_LIMIT_MS
    print(f"compiling {lines} lines: {compiling:.0f} ms (limit {COMPILE_LIMIT_MS:.0f} ms)")
    sys.exit(1 if too_slow else 0)


if __name__ == "__main__":
    main()
