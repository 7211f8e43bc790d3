"""``try``, ``catch`` and ``finally``."""

from __future__ import annotations

from ccos.rtfs import nodes
from ccos.rtfs.emitting.matching import Matching
from ccos.rtfs.emitting.text import Code, marked
from ccos.rtfs.emitting.writer import Destination


def selection(catch: nodes.Catch, error: str) -> str | None:
    """The Python test of a selector; None if it catches everything."""
    if catch.selector is None:
        return None
    if catch.by_keyword:
        return f"selects_keyword({error}, {catch.selector!r})"
    if catch.selector in ("Exception", "Throwable", "Error"):
        return None
    return f"selects_name({error}, {catch.selector!r})"


class Handling(Matching):
    """Writes the handling of errors."""

    def _try(self, node: nodes.Try, to: Destination) -> None:
        if to.way == "return" or to.leaves:
            name = self._temporary("value")
            self._try(node, Destination("assign", name))
            self._finish(Code(name), to, node)
            return
        if node.cleanup is not None:
            self._try_finally(node, to)
        elif node.catches:
            self._try_catch(node, to)
        else:
            self.into(node.body, to)

    def _try_finally(self, node: nodes.Try, to: Destination) -> None:
        assert node.cleanup is not None
        body, _ = self._definition(node.cleanup)
        cleanup = self._frame.fresh("cleanup")
        self._write_definition(cleanup, "", body, self._frozen(node.cleanup, None), node.at)
        failure = self._temporary("failure")
        with self._inside([]) as block:
            self._try(nodes.Try(node.body, node.catches, None, node.at), to)
        error = self._temporary("error")
        self._block += [
            "try:",
            block,
            f"except Exception as {failure}:",
            [
                f"{error} = caught({failure})",
                marked(node.at, f"{cleanup}()"),
                marked(node.at, f"again({failure}, {error})"),
            ],
            marked(node.at, f"{cleanup}()"),
        ]

    def _try_catch(self, node: nodes.Try, to: Destination) -> None:
        with self._inside([]) as block:
            self.into(node.body, to)
        failure = self._temporary("failure")
        error = self._temporary("error")
        with self._inside([]) as handler:
            self._line(f"{error} = caught({failure})")
            self._catches(node, error, failure, to)
        self._block += ["try:", block, f"except Exception as {failure}:", handler]

    def _catches(self, node: nodes.Try, error: str, failure: str, to: Destination) -> None:
        word = "if"
        for catch in node.catches:
            with self._inside([]) as block:
                if catch.variable.used:
                    self._line(f"{catch.variable.python} = {error}")
                self.into(catch.body, to)
            test = selection(catch, error)
            if test is None:
                if word == "if":
                    self._block.extend(block)
                else:
                    self._block += ["else:", block]
                return
            self._block += [f"{word} {test}:", block]
            word = "elif"
        self._block += ["else:", [marked(node.at, f"again({failure}, {error})")]]
