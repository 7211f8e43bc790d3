"""Without graphql-core nothing here can be imported."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("graphql") else ["test_*.py"]
