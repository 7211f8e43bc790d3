"""The language reference for people, made from the table that defines the library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ccos.rtfs.library import BY_NAME, FUNCTIONS, HOST_FUNCTIONS, LibraryFunction


@dataclass(frozen=True, slots=True)
class SpecialForm:
    """A form that is no function.

    Attributes:
        name: What its list begins with.
        shape: How it is written.
        summary: What it does.
        derived: Whether a program may give the name another meaning.
    """

    name: str
    shape: str
    summary: str
    derived: bool = False


FORMS: Final = (
    SpecialForm("quote", "'form", "The form as data."),
    SpecialForm("quasiquote", "`form", "Data with parts filled in by `~` and spliced by `~@`."),
    SpecialForm("if", "(if test then else?)", "Everything but nil and false is true."),
    SpecialForm("do", "(do form…)", "Forms in turn; the value of the last."),
    SpecialForm("let", "(let [pattern value …] form…)", "Names for values, one after another."),
    SpecialForm("fn", "(fn name? [pattern …] form…)", "A function; also written λ and #(…)."),
    SpecialForm("def", "(def name value)", "A name in the program or in the body around it."),
    SpecialForm("defn", "(defn name [pattern …] form…)", "A function with a name."),
    SpecialForm("defmacro", "(defmacro name [name …] form…)", "A function of forms to a form."),
    SpecialForm("defstruct", "(defstruct Name :field Type …)", "A record type with constructor."),
    SpecialForm("deftype", "(deftype Name Type)", "A name for a type."),
    SpecialForm("loop", "(loop [pattern value …] form…)", "A place that `recur` goes back to."),
    SpecialForm("recur", "(recur value…)", "Goes round once more, with new values."),
    SpecialForm(
        "match", "(match value pattern form …)", "The form of the first pattern that fits."
    ),
    SpecialForm("for", "(for [pattern coll :when test :let […]] form)", "A vector of results."),
    SpecialForm("try", "(try form… (catch Kind name form…) (finally form…))", "Handles errors."),
    SpecialForm("call", "(call id argument…)", "Calls a capability and waits for its answer."),
    SpecialForm("step", "(step label form…)", "A part of a plan that the host sees."),
    SpecialForm("step-if", "(step-if test then else?)", "A choice as a step."),
    SpecialForm("step-loop", "(step-loop test form…)", "Goes round while the test is true."),
    SpecialForm("step-parallel", "(step-parallel form…)", "Branches whose calls overlap."),
    SpecialForm("module", "(module name (:exports [name …]) definition…)", "A module."),
    SpecialForm("import", "(import name :as alias :only [name …])", "Uses a module."),
    SpecialForm("resource:ref", '(resource:ref "name")', "The name of a resource."),
    SpecialForm("cond", "(cond test form …)", "The form of the first true test.", derived=True),
    SpecialForm("case", "(case value key form … default?)", "Choice by constants.", derived=True),
    SpecialForm("when", "(when test form…)", "Forms if the test is true.", derived=True),
    SpecialForm("when-not", "(when-not test form…)", "Forms if it is not.", derived=True),
    SpecialForm("if-not", "(if-not test then else?)", "`if` turned round.", derived=True),
    SpecialForm("if-let", "(if-let [pattern value] then else?)", "`if` and `let`.", derived=True),
    SpecialForm(
        "when-let", "(when-let [pattern value] form…)", "The same, of `when`.", derived=True
    ),
    SpecialForm("and", "(and form…)", "The first false value, or the last.", derived=True),
    SpecialForm("or", "(or form…)", "The first true value, or the last.", derived=True),
    SpecialForm(
        "->", "(-> value form…)", "The value through forms, as first argument.", derived=True
    ),
    SpecialForm("->>", "(->> value form…)", "The same, as last argument.", derived=True),
    SpecialForm("doseq", "(doseq [pattern coll …] form…)", "`for` without a result.", derived=True),
    SpecialForm("dotimes", "(dotimes [name count] form…)", "Forms so many times.", derived=True),
    SpecialForm("lambda", "(lambda [name …] form…)", "`fn` with plain parameters.", derived=True),
    SpecialForm(
        "parallel", "(parallel [name form] …)", "`step-parallel` with types.", derived=True
    ),
)
_BY_FORM: Final = {one.name: one for one in FORMS}


def documentation(name: str) -> str | None:
    """What a name of the language means, in a few lines; None if it has no meaning."""
    form = _BY_FORM.get(name)
    if form is not None:
        return f"{form.shape}\n{form.summary}"
    function = BY_NAME.get(name)
    if function is not None:
        return "\n".join(_lines(function))
    if name in HOST_FUNCTIONS:
        return f"({name} …)\nCalls the capability {HOST_FUNCTIONS[name]}."
    return None


def names() -> tuple[str, ...]:
    """Every name with a meaning, for completion."""
    return tuple(sorted({*_BY_FORM, *BY_NAME, *HOST_FUNCTIONS}))


def reference_page() -> str:
    """The reference as Markdown: special forms, then every library function with examples."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# RTFS reference\n"
    yield "## Special forms\n"
    yield "A derived form gives way to a function or macro of the same name.\n"
    yield "| form | meaning | |\n| --- | --- | --- |"
    for form in FORMS:
        kind = "derived" if form.derived else "core"
        yield f"| `` {_cell(form.shape)} `` | {_cell(form.summary)} | {kind} |"
    group = ""
    for function in FUNCTIONS:
        if function.group != group:
            group = function.group
            yield f"\n## {group}"
        yield f"\n### {' '.join(f'`{name}`' for name in function.names)}\n"
        yield f"{function.summary} Arguments: {function.arity}."
        if function.examples:
            yield "\n```clojure"
            yield from function.examples
            yield "```"
    yield "\n## Calls of the host\n"
    yield "These names are plain calls: governed, recorded, listed as dependencies.\n"
    yield "| name | capability |\n| --- | --- |"
    for name, identifier in HOST_FUNCTIONS.items():
        yield f"| `{name}` | `{identifier}` |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lines(function: LibraryFunction) -> Iterator[str]:
    yield f"({function.names[0]} …)  arguments: {function.arity}"
    yield function.summary
    if len(function.names) > 1:
        yield f"Also: {', '.join(function.names[1:])}"
    yield from function.examples
