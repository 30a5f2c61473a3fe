"""What the admin pages of all apps have in common. Only their `admin` modules import it."""
