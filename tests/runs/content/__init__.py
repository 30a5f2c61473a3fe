"""What is kept of what runs were asked and answered."""
