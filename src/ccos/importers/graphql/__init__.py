"""A GraphQL schema becomes capabilities. Pure functions of a document; nothing here does I/O.

The one door is `import_graphql`. It takes an introspection result or a text of type definitions,
and gives an `ImportedApi`, as the importer of OpenAPI documents does::

    api = import_graphql(document, location="schema.graphql", endpoint="https://api.example/graphql")
    for capability in api.capabilities: ...
    for fault in api.quarantined: print(fault.place, fault.reason)

A live endpoint is asked by `ccos.providers.graphql_introspection.introspect`.
"""

from ccos.importers.graphql.importer import import_graphql
from ccos.importers.graphql.selection import SelectionBudget
from ccos.importers.openapi import ImportedApi, Note, Quarantined

__all__ = ["ImportedApi", "Note", "Quarantined", "SelectionBudget", "import_graphql"]
