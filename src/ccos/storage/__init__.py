"""The database: tables, revisions, one writer with group commit."""

from ccos.storage.database import Storage, Transaction, WriteObserver

__all__ = ["Storage", "Transaction", "WriteObserver"]
