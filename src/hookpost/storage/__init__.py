"""Where events and deliveries are kept: one protocol, one backend a folder."""
