"""The operators' REST API, on Django REST framework. Nothing outside this package imports it but the URLs."""
