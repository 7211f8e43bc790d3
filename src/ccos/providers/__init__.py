"""How a capability is invoked: one module a kind of provider."""
