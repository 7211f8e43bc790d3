"""Asking a person on the terminal."""

from __future__ import annotations

import asyncio
import sys

from ccos.interfaces.cli.screen import Screen


def can_ask(screen: Screen) -> bool:
    """Whether there is a person to be asked: a terminal, and output that is meant for people."""
    return not screen.json and sys.stdin.isatty() and sys.stdout.isatty()


async def says_yes(screen: Screen, question: str) -> bool:
    """Whether the person at the terminal says yes; anything else is a no."""
    screen.note(f"{question} [y/N]")
    # A thread that waits in input() could not be interrupted.
    typed = asyncio.Event()
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
    loop.add_reader(terminal, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(terminal)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
