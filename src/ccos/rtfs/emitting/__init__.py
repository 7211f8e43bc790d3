"""Nodes become Python text; one module for each part of the work."""

from ccos.rtfs.emitting.emitter import Emitted, emit
from ccos.rtfs.emitting.text import Span, TooDeepError

__all__ = ["Emitted", "Span", "TooDeepError", "emit"]
