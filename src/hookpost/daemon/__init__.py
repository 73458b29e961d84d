"""The daemon: composition, signals, life."""
