"""What people look at: the admin, and the operators' commands."""
