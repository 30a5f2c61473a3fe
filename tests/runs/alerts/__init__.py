"""Who is told when a run ends badly."""
