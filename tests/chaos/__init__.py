"""A pair of gateways under load while everything around them breaks; afterwards the books are balanced."""
