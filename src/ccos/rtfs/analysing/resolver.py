"""What every part of the analysis uses: errors, scopes, names."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from ccos.rtfs import nodes
from ccos.rtfs.analysing.naming import python_name
from ccos.rtfs.analysing.scopes import HostTarget, Module, ModuleSource, Scope
from ccos.rtfs.analysing.words import CORE, DERIVED
from ccos.rtfs.diagnostics import Diagnostic
from ccos.rtfs.forms import (
    Form,
    Symbol,
    VectorForm,
)
from ccos.rtfs.library import BY_NAME
from ccos.rtfs.macros import Macro, Macros
from ccos.rtfs.nodes import Node
from ccos.rtfs.types import (
    Named,
    Type,
)


class Resolver(ABC):
    """Resolves names; the parts that read forms build on it."""

    def __init__(
        self,
        macros: Macros,
        module_source: ModuleSource | None,
        reserved: frozenset[str],
    ) -> None:
        self._macros = macros
        self._module_source = module_source
        self._frame = nodes.Frame(None, set(reserved))
        self._top = Scope(None, self._frame, None, is_body=True)
        self._modules: dict[str, Module] = {}
        self._aliases: dict[str, Module] = {}
        self._module = Module("")
        self._imported_types: dict[str, str] = {}
        self._loading: list[str] = []
        self._functions: list[nodes.Function] = []
        self._expanding_seconds = 0.0
        self._expansion_level = 0
        self._named_types: list[Named] = []
        self._tail_calls: list[tuple[nodes.Function, nodes.Variable]] = []
        self.targets: list[HostTarget] = []
        self.diagnostics: list[Diagnostic] = []
        self.types: dict[str, Type] = {}
        self._unresolved: dict[str, Symbol] = {}
        self._foreign = 0
        self._counted: set[int] = set()
        """Definitions that their variable counts already."""

    @abstractmethod
    def _node(self, form: Form, scope: Scope, tail: nodes.Loop | nodes.Clause | None) -> Node: ...

    @abstractmethod
    def _binding_parts(self, vector: VectorForm) -> list[tuple[Form, Type | None, Form]]: ...

    @abstractmethod
    def _let_binding(self, part: tuple[Form, Type | None, Form], scope: Scope) -> nodes.Bind: ...

    @abstractmethod
    def _sequence(
        self,
        forms: Sequence[Form],
        scope: Scope,
        tail: nodes.Loop | nodes.Clause | None,
        at: int,
    ) -> Node: ...

    @abstractmethod
    def _body(
        self,
        forms: Sequence[Form],
        scope: Scope,
        tail: nodes.Loop | nodes.Clause | None,
        at: int,
    ) -> Node: ...

    @abstractmethod
    def _nodes(self, forms: Iterable[Form], scope: Scope) -> list[Node]: ...

    @abstractmethod
    def _register_type(self, name: Symbol) -> str: ...

    @abstractmethod
    def _declare(self, forms: Iterable[Form], scope: Scope, *, plain: bool = True) -> None: ...

    def _report(self, diagnostic: Diagnostic) -> None:
        if not self._foreign:
            self.diagnostics.append(diagnostic)
            return
        words = f"in module `{self._loading[-1]}`: {diagnostic.message}"
        self.diagnostics.append(
            Diagnostic(words, 0, 0, diagnostic.hint, diagnostic.severity, diagnostic.kind)
        )

    def _warn(
        self, message: str, form: Form | Named, hint: str = "", kind: str = "UndefinedSymbol"
    ) -> None:
        self._report(Diagnostic(message, form.start, form.end, hint, "warning", kind))

    def _similar(self, name: str) -> str:
        known = [*self._top.names, *BY_NAME, *CORE, *DERIVED]
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        return f"did you mean `{close[0]}`?" if close else ""

    def _variable(self, name: str, scope: Scope) -> nodes.Variable:
        python = scope.frame.fresh(python_name(name))
        return nodes.Variable(name, python, scope.frame, scope.repeat)

    def _bound(self, name: str, scope: Scope) -> nodes.Variable:
        """A new variable that the rest of ``scope`` sees."""
        variable = self._variable(name, scope)
        variable.definitions = 1
        scope.names[name] = variable
        return variable

    def _resolve(self, name: str, scope: Scope) -> nodes.Variable | None:
        inner = scope.frame
        current: Scope | None = scope
        while current is not None:
            found = current.names.get(name)
            if found is None and current.frame is not inner:
                found = current.pending.get(name)
            if found is not None:
                self._capture(found)
                return found
            current = current.outer
        return self._member(name)

    def _capture(self, variable: nodes.Variable) -> None:
        variable.used = True
        for function in reversed(self._functions):
            if function.frame is variable.frame or (variable.is_global and variable.repeat is None):
                break
            if any(clause.frame is variable.frame for clause in function.clauses):
                break
            function.free[variable] = None

    def _member(self, name: str) -> nodes.Variable | None:
        """What ``alias/name`` stands for."""
        module, member = self._split(name)
        if module is None or not (module.offers(member) or module is self._module):
            return None
        found = module.members.get(member)
        if found is not None:
            found.used = True
        return found

    def _split(self, name: str) -> tuple[Module | None, str]:
        prefix, slash, member = name.rpartition("/")
        if not slash or not prefix:
            return None, name
        return self._aliases.get(prefix) or self._modules.get(prefix), member

    def _macro(self, name: str, scope: Scope) -> Macro | None:
        current: Scope | None = scope
        while current is not None and current.outer is not None:
            if name in current.names:
                return None
            current = current.outer
        found = self._module.macros.get(name)
        if found is not None:
            return found
        if name in self._top.names:
            return None
        module, member = self._split(name)
        if module is None or not module.offers(member):
            return None
        return module.macros.get(member)
