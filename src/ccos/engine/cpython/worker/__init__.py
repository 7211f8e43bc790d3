"""What runs in the processes of a script: the standard library alone, nothing of this package."""
