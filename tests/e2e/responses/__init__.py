"""What only the Responses endpoint has."""
