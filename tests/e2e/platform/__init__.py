"""The facts about the platform: each is a trap, and each has a test named after it."""
