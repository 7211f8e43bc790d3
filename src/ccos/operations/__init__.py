"""Keeping an installation in order."""
