"""How a missing capability is found, assessed, approved and registered."""
