"""CCOS: a capability runtime for AI agents."""
