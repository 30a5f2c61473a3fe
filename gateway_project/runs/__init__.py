"""What is remembered of every run: vocabulary, models, the journal, and the two doors to a run's end."""
