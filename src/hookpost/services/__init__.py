"""The verbs: ingest, dispatch, reload, retention, operations."""
