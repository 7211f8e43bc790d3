"""Generated programs: every name they use is bound, most of what they do makes sense."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

Shape = Callable[[int, tuple[str, ...]], st.SearchStrategy[str]]
NAMES = ("a", "b", "c")
WORDS = """0 1 2 -3 2.5 1.0 true false nil :k :m "" "ab" [] {} ()"""
CONSTANTS = st.sampled_from([*WORDS.split(), "[1 2]", "{:k 1}", "{:m [3]}"])
UNARY = ["inc", "not", "nil?", "count", "first", "rest", "-", "+"]
BINARY = ["+", "-", "*", "/", "<", ">=", "=", "conj", "get", "nth", "vector", "list"]


@st.composite
def expressions(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    if depth == 0 or draw(st.integers(0, 5)) == 0:
        atoms = st.one_of(st.sampled_from(names), CONSTANTS) if names else CONSTANTS
        return draw(atoms)
    shape: Shape = draw(st.sampled_from(SHAPES))
    return draw(shape(depth - 1, names))


def inner(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    return draw(expressions(depth, names))


@st.composite
def calls(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    if draw(st.booleans()):
        return f"({draw(st.sampled_from(UNARY))} {inner(draw, depth, names)})"
    one, other = inner(draw, depth, names), inner(draw, depth, names)
    return f"({draw(st.sampled_from(BINARY))} {one} {other})"


@st.composite
def ifs(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    test, then, other = (inner(draw, depth, names) for _ in range(3))
    return f"(if {test} {then} {other})"


@st.composite
def lets(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    name = draw(st.sampled_from(NAMES))
    value = inner(draw, depth, names)
    seen = tuple(dict.fromkeys((*names, name)))
    if draw(st.integers(0, 3)) == 0:
        pattern = draw(st.sampled_from(["[a & b]", "[a b]", "{:keys [k]}", "_"]))
        bound = {"[a & b]": ("a", "b"), "[a b]": ("a", "b"), "{:keys [k]}": ("k",), "_": ()}
        seen = tuple(dict.fromkeys((*names, *bound[pattern])))
        return f"(let [{pattern} {value}] {inner(draw, depth, seen)})"
    return f"(let [{name} {value}] {inner(draw, depth, seen)})"


@st.composite
def functions(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    name = draw(st.sampled_from(NAMES))
    seen = tuple(dict.fromkeys((*names, name)))
    return f"(fn [{name}] {inner(draw, depth, seen)})"


@st.composite
def applications(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    function = draw(st.one_of(functions(depth, names), st.sampled_from([":k", "inc", "count"])))
    return f"({function} {inner(draw, depth, names)})"


@st.composite
def sequences(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    function = draw(st.one_of(functions(depth, names), st.sampled_from(["inc", ":k", "not"])))
    name = draw(st.sampled_from(["map", "filter"]))
    return f"({name} {function} {inner(draw, depth, names)})"


@st.composite
def reductions(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    seen = tuple(dict.fromkeys((*names, "a", "b")))
    function = f"(fn [a b] {inner(draw, depth, seen)})"
    function = draw(st.sampled_from([function, "+", "conj"]))
    start, collection = inner(draw, depth, names), inner(draw, depth, names)
    return f"(reduce {function} {start} {collection})"


@st.composite
def loops(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    seen = tuple(dict.fromkeys((*names, "i", "a")))
    start, step, end = inner(draw, depth, names), inner(draw, depth, seen), inner(draw, depth, seen)
    count = draw(st.integers(0, 3))
    return f"(loop [i 0 a {start}] (if (< i {count}) (recur (inc i) {step}) {end}))"


@st.composite
def fors(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    name = draw(st.sampled_from(NAMES))
    seen = tuple(dict.fromkeys((*names, name)))
    collection = inner(draw, depth, names)
    return f"(for [{name} {collection}] {inner(draw, depth, seen)})"


@st.composite
def logic(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    parts = [inner(draw, depth, names) for _ in range(draw(st.integers(1, 3)))]
    return f"({draw(st.sampled_from(['and', 'or', 'do']))} {' '.join(parts)})"


@st.composite
def tries(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    kind = draw(st.sampled_from(["Exception", "TypeError", "DivisionByZero"]))
    main, handler = inner(draw, depth, names), inner(draw, depth, names)
    if draw(st.integers(0, 3)) == 0:
        main = f'(do {main} (throw "t"))'
    return f"(try {main} (catch {kind} e {handler}))"


@st.composite
def matches(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    value = inner(draw, depth, names)
    seen = tuple(dict.fromkeys((*names, "a")))
    both = tuple(dict.fromkeys((*names, "a", "b")))
    choices = [
        ("1", names),
        ("nil", names),
        ("[a b]", both),
        ("{:k a}", seen),
        ("{}", names),
        ('"ab"', names),
        (f"a when {inner(draw, depth, seen)}", seen),
    ]
    picked = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3))
    clauses = " ".join(f"{pattern} {inner(draw, depth, bound)}" for pattern, bound in picked)
    last = f" _ {inner(draw, depth, names)}" if draw(st.booleans()) else ""
    return f"(match {value} {clauses}{last})"


@st.composite
def collections(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> str:
    one, other = inner(draw, depth, names), inner(draw, depth, names)
    return draw(st.sampled_from([f"[{one} {other}]", f"{{:k {one} :m {other}}}", f"(list {one})"]))


SHAPES: tuple[Shape, ...] = (
    calls,
    calls,
    ifs,
    lets,
    functions,
    applications,
    sequences,
    reductions,
    loops,
    fors,
    logic,
    tries,
    matches,
    collections,
)
programs = expressions(4, ())
