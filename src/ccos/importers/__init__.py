"""A description becomes capabilities. Pure functions of a document; nothing here does I/O."""
