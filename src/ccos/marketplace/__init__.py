"""Registered capabilities: store, versions, search."""

from ccos.marketplace.store import (
    Marketplace,
    Registered,
    Registration,
    RegistrationResult,
    Standing,
)

__all__ = ["Marketplace", "Registered", "Registration", "RegistrationResult", "Standing"]
