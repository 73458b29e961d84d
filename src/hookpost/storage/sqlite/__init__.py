"""The outbox in one SQLite file."""
