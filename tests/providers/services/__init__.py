"""Services that tests call for real."""
