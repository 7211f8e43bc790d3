"""The surfaces of CCOS. They translate and show; the rules are below them."""
