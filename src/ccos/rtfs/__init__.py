"""RTFS: the language of plans and capabilities, compiled to the Python that Monty runs."""
