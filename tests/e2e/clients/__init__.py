"""Popular clients, unchanged but for their base URL and key. They run in processes of their own: see `driver`."""
