"""Approvals: questions to a person that survive restarts and are answered once."""

from ccos.resolution.approvals.budgets import BudgetExtensions
from ccos.resolution.approvals.questions import NOT_IN_TIME, Approvals
from ccos.resolution.approvals.records import (
    Approval,
    ApprovalCategory,
    ApprovalState,
    BudgetExtension,
    granted,
    load_approval,
)

__all__ = [
    "NOT_IN_TIME",
    "Approval",
    "ApprovalCategory",
    "ApprovalState",
    "Approvals",
    "BudgetExtension",
    "BudgetExtensions",
    "granted",
    "load_approval",
]
