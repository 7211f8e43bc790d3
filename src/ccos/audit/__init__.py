"""The audit trail: an append-only, hash-chained record with a signed head."""

from ccos.audit.head import Head, HeadFile
from ccos.audit.redaction import names_a_secret, redacted
from ccos.audit.trail import AuditEntry, AuditTrail, Verification

__all__ = [
    "AuditEntry",
    "AuditTrail",
    "Head",
    "HeadFile",
    "Verification",
    "names_a_secret",
    "redacted",
]
