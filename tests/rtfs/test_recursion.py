"""Deep forms are compiled, and the limit of the interpreter is what it was after that."""

from __future__ import annotations

import sys
import threading

from ccos.rtfs import check, compile_module
from ccos.rtfs.recursion import recursing_deeply

DEEP = "(inc " * 400 + "0" + ")" * 400


def test_deep_forms_leave_the_limit_as_it_was() -> None:
    before = sys.getrecursionlimit()
    compile_module(DEEP)
    assert not check(DEEP).errors
    assert sys.getrecursionlimit() == before


def test_the_limit_is_high_until_the_last_one_is_done() -> None:
    before = sys.getrecursionlimit()
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with recursing_deeply():
            begun.set()
            go_on.wait(30)

    with recursing_deeply():
        thread = threading.Thread(target=work)
        thread.start()
        begun.wait(30)
    assert sys.getrecursionlimit() > before
    go_on.set()
    thread.join()
    assert sys.getrecursionlimit() == before
