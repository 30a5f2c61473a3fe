"""What runs were asked and what they answered: how it is kept, sealed, and taken away again."""
