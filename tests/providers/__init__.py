"""Servers that enforce what each provider's notes say, as data, and the engine that plays them."""
