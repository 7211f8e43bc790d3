"""The database: tables, revisions, one writer with group commit."""

from ccos.storage.database import Storage, Transaction, WriteObserver
from ccos.storage.statements import Statement

__all__ = ["Statement", "Storage", "Transaction", "WriteObserver"]
