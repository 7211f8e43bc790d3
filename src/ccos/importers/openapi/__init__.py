"""OpenAPI and Swagger documents become capabilities. Pure functions of a document."""

from ccos.importers.openapi.declarations import Incoming
from ccos.importers.openapi.document import read_document
from ccos.importers.openapi.findings import Note, Quarantined
from ccos.importers.openapi.folder import documents_under
from ccos.importers.openapi.importer import ImportedApi, import_openapi
from ccos.importers.openapi.naming import tool_names
from ccos.importers.openapi.references import Loader

__all__ = [
    "ImportedApi",
    "Incoming",
    "Loader",
    "Note",
    "Quarantined",
    "documents_under",
    "import_openapi",
    "read_document",
    "tool_names",
]
