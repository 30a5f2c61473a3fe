"""Bad requests over a real daphne: refused in our form and at once, and nobody else is the worse for it."""
