"""Registered capabilities: store, versions, search."""

from ccos.marketplace.finder import Hit, MeaningFinder, installed_meanings
from ccos.marketplace.store import (
    Marketplace,
    Registered,
    Registration,
    RegistrationResult,
    Standing,
)

__all__ = [
    "Hit",
    "Marketplace",
    "MeaningFinder",
    "Registered",
    "Registration",
    "RegistrationResult",
    "Standing",
    "installed_meanings",
]
