"""Many of the same thing: what is taken is given back."""
