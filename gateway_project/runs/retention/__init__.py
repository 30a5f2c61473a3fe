"""What goes when its time is over, or when a person asks; and what must stay all the same."""
