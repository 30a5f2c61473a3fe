"""The admin over millions of runs on PostgreSQL: how much database time, and which query scans? ``make scale``."""
