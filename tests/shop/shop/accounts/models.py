from django.contrib.auth.models import AbstractUser
from django.db import models


class Customer(AbstractUser):
    """The shop's own user model."""

    loyalty_points = models.IntegerField(default=0)
