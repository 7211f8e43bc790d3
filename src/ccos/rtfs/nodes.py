"""A program with its names resolved: what analysis makes and the emitter writes as Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ccos.rtfs.forms import Form
from ccos.rtfs.types import Type


@dataclass(eq=False, slots=True)
class Frame:
    """A Python function that will be written; ``outer`` is None for the module itself."""

    outer: Frame | None
    names: set[str] = field(default_factory=set)

    def fresh(self, base: str) -> str:
        """A name that neither this function nor one around it uses yet."""
        candidate, number = base, 1
        while self._has(candidate):
            number += 1
            candidate = f"{base}_{number}"
        self.names.add(candidate)
        return candidate

    def _has(self, name: str) -> bool:
        frame: Frame | None = self
        while frame is not None:
            if name in frame.names:
                return True
            frame = frame.outer
        return False


@dataclass(eq=False, slots=True)
class Repeat:
    """Something whose body runs several times; ``active`` once it is sure that it will."""

    outer: Repeat | None
    frame: Frame
    active: bool = False

    def varies(self) -> bool:
        """Whether a variable bound here takes several values in one run of its function."""
        repeat: Repeat | None = self
        while repeat is not None:
            if repeat.active:
                return True
            repeat = repeat.outer
        return False


@dataclass(eq=False, slots=True)
class Variable:
    """A name of the program, and the Python name it got.

    Attributes:
        name: As the program writes it.
        python: As the generated text writes it.
        frame: The function that owns it.
        repeat: The innermost repeated body it is bound in.
        kind: What is known of its values; see :mod:`ccos.rtfs.kinds`.
        function: What it is bound to for good, if that is a function.
        definitions: How many times it gets a value.
    """

    name: str
    python: str
    frame: Frame
    repeat: Repeat | None = None
    kind: str = "any"
    function: Function | None = None
    definitions: int = 0
    used: bool = False
    step: str | None = None
    """The name of one step of it, if it is one of several functions that end with each other."""

    @property
    def is_global(self) -> bool:
        """Whether it belongs to the module."""
        return self.frame.outer is None

    @property
    def is_stable(self) -> bool:
        """Whether it has one value for good once it has one."""
        return self.definitions <= 1


@dataclass(eq=False, slots=True)
class Const:
    """A value known before the run, as a form that is data."""

    form: Form
    at: int


@dataclass(eq=False, slots=True)
class Ref:
    """The value of a variable."""

    variable: Variable
    at: int


@dataclass(eq=False, slots=True)
class LibraryRef:
    """A library function as a value."""

    name: str
    at: int


@dataclass(eq=False, slots=True)
class Raw:
    """A call of a prelude function that has no name in the language."""

    python: str
    arguments: list[Node]
    at: int
    kind: str = "any"


@dataclass(eq=False, slots=True)
class Call:
    """A call of whatever ``callee`` is."""

    callee: Node
    arguments: list[Node]
    at: int
    tail: bool = False


@dataclass(eq=False, slots=True)
class LibraryCall:
    """A call of a library function."""

    name: str
    arguments: list[Node]
    at: int


@dataclass(eq=False, slots=True)
class HostCall:
    """``(call id …)``; ``identifier`` is the id if it is known before the run."""

    target: Node
    arguments: list[Node]
    identifier: str | None
    at: int


@dataclass(eq=False, slots=True)
class HostFunction:
    """A function that calls a capability, as a value."""

    identifier: str
    at: int


@dataclass(eq=False, slots=True)
class If:
    """A choice; ``otherwise`` is nil if it was left out."""

    test: Node
    then: Node
    otherwise: Node
    at: int


@dataclass(eq=False, slots=True)
class And:
    """The first false value, or the last."""

    parts: list[Node]
    at: int


@dataclass(eq=False, slots=True)
class Or:
    """The first true value, or the last."""

    parts: list[Node]
    at: int


@dataclass(eq=False, slots=True)
class Do:
    """Several in turn; the value of the last."""

    body: list[Node]
    at: int


@dataclass(eq=False, slots=True)
class Bind:
    """A value taken apart into variables, with an annotation of the whole."""

    pattern: Pattern
    value: Node
    type: Type | None
    at: int


@dataclass(eq=False, slots=True)
class Let:
    """Bindings in turn, then a body."""

    bindings: list[Bind]
    body: Node
    at: int


@dataclass(eq=False, slots=True)
class Define:
    """A value for a variable that may have one already."""

    variable: Variable
    value: Node
    type: Type | None
    at: int


@dataclass(eq=False, slots=True)
class Parameter:
    """One parameter; ``rest`` marks the one after ``&``."""

    pattern: Pattern
    variable: Variable
    type: Type | None
    rest: bool
    at: int


@dataclass(eq=False, slots=True)
class Clause:
    """One arity of a function."""

    parameters: list[Parameter]
    returns: Type | None
    body: Node
    before: list[Node]
    after: list[Node]
    result: Variable | None
    repeat: Repeat
    frame: Frame
    at: int

    @property
    def has_rest(self) -> bool:
        """Whether it takes more arguments than it names."""
        return bool(self.parameters) and self.parameters[-1].rest

    @property
    def required(self) -> int:
        """How many arguments it takes at least."""
        return len(self.parameters) - self.has_rest

    def accepts(self, count: int) -> bool:
        """Whether it can be called with so many."""
        return count == self.required or (self.has_rest and count >= self.required)


@dataclass(eq=False, slots=True)
class Function:
    """A function literal.

    Attributes:
        name: For messages and for the generated text.
        variable: The name by which it knows itself, if it uses one.
        clauses: One for each arity.
        free: The variables of enclosing functions that it uses.
    """

    name: str
    variable: Variable | None
    clauses: list[Clause]
    frame: Frame
    free: dict[Variable, None]
    at: int


@dataclass(eq=False, slots=True)
class Loop:
    """``loop``: starts, then a body that may go round."""

    bindings: list[Bind]
    variables: list[Variable]
    body: Node
    repeat: Repeat
    at: int


@dataclass(eq=False, slots=True)
class Recur:
    """Once more, with new values for the variables of a loop or a function."""

    target: Loop | Clause
    arguments: list[Node]
    at: int


@dataclass(eq=False, slots=True)
class Generator:
    """One ``pattern collection`` of ``for`` with what follows it."""

    pattern: Pattern
    collection: Node
    steps: list[Node | Bind]
    """``:when`` tests and ``:let`` bindings, in order."""
    repeat: Repeat
    at: int


@dataclass(eq=False, slots=True)
class For:
    """Nested loops; ``collect`` tells whether the values are wanted."""

    generators: list[Generator]
    body: Node
    collect: bool
    at: int


@dataclass(eq=False, slots=True)
class While:
    """``step-loop``."""

    test: Node
    body: Node
    repeat: Repeat
    at: int


@dataclass(eq=False, slots=True)
class MatchClause:
    """A pattern, its guard and what it gives."""

    pattern: MatchPattern
    guard: Node | None
    body: Node
    at: int


@dataclass(eq=False, slots=True)
class Match:
    """The first clause that fits; ``subject`` is held by ``variable``."""

    subject: Node
    variable: Variable
    clauses: list[MatchClause]
    at: int


@dataclass(eq=False, slots=True)
class Catch:
    """A clause of ``try``; ``selector`` is None if it catches everything."""

    selector: str | None
    by_keyword: bool
    variable: Variable
    body: Node
    at: int


@dataclass(eq=False, slots=True)
class Try:
    """``try``; ``cleanup`` is a function without parameters."""

    body: Node
    catches: list[Catch]
    cleanup: Function | None
    at: int


@dataclass(eq=False, slots=True)
class VectorNode:
    """A vector literal."""

    items: list[Node]
    at: int


@dataclass(eq=False, slots=True)
class MapNode:
    """A map literal."""

    pairs: list[tuple[Node, Node]]
    at: int


@dataclass(eq=False, slots=True)
class Template:
    """A quasiquoted collection; an item with True is spliced in."""

    shape: str
    items: list[tuple[Node, bool]]
    at: int


@dataclass(eq=False, slots=True)
class FreshSymbol:
    """``name#`` in a quasiquote."""

    name: str
    at: int


@dataclass(eq=False, slots=True)
class Check:
    """A value that has to be of a type; the error names ``path``."""

    value: Node
    type: Type
    path: str
    at: int


@dataclass(eq=False, slots=True)
class NameType:
    """``deftype``, ``defstruct``: gives a type a name."""

    name: str
    type: Type
    at: int


Node: TypeAlias = (
    Const
    | Ref
    | LibraryRef
    | Raw
    | Call
    | LibraryCall
    | HostCall
    | HostFunction
    | If
    | And
    | Or
    | Do
    | Let
    | Define
    | Function
    | Loop
    | Recur
    | For
    | While
    | Match
    | Try
    | VectorNode
    | MapNode
    | Template
    | FreshSymbol
    | Check
    | NameType
)


# --- Patterns -------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Name:
    """Binds the whole."""

    variable: Variable
    at: int


@dataclass(eq=False, slots=True)
class Ignore:
    """``_``."""

    at: int


@dataclass(eq=False, slots=True)
class Items:
    """A vector pattern."""

    parts: list[Pattern]
    rest: Variable | None
    open_end: bool
    whole: Variable | None
    at: int


@dataclass(eq=False, slots=True)
class Member:
    """An entry of a map pattern; ``lenient`` also looks for the text of a keyword's name."""

    key: Form
    lenient: bool
    pattern: Pattern
    default: Node | None
    at: int


@dataclass(eq=False, slots=True)
class Members:
    """A map pattern."""

    members: list[Member]
    rest: Variable | None
    whole: Variable | None
    at: int


Pattern: TypeAlias = Name | Ignore | Items | Members


@dataclass(eq=False, slots=True)
class Equals:
    """Matches one value."""

    form: Form
    at: int


@dataclass(eq=False, slots=True)
class OneOf:
    """Matches one of several values."""

    forms: list[Form]
    at: int


@dataclass(eq=False, slots=True)
class MatchItems:
    """Matches a sequence."""

    parts: list[MatchPattern]
    rest: Variable | None
    open_end: bool
    at: int


@dataclass(eq=False, slots=True)
class MatchMembers:
    """Matches a map."""

    members: list[tuple[Form, MatchPattern]]
    rest: Variable | None
    at: int


@dataclass(eq=False, slots=True)
class Whole:
    """``(:as n p)``."""

    variable: Variable
    inner: MatchPattern
    at: int


@dataclass(eq=False, slots=True)
class OfType:
    """``(type p)``."""

    type: Type
    inner: MatchPattern
    at: int


@dataclass(eq=False, slots=True)
class Guarded:
    """``(p :when f)``."""

    inner: MatchPattern
    guard: Node
    at: int


MatchPattern: TypeAlias = (
    Name | Ignore | Equals | OneOf | MatchItems | MatchMembers | Whole | OfType | Guarded
)


def place(node: Any) -> int:
    """Where in the text a node comes from."""
    return int(node.at)
