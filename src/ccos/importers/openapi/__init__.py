"""OpenAPI and Swagger documents become capabilities. Pure functions of a document."""

from ccos.importers.openapi.document import read_document
from ccos.importers.openapi.importer import ImportedApi, Quarantined, import_openapi

__all__ = ["ImportedApi", "Quarantined", "import_openapi", "read_document"]
