"""The reference server: an ASGI application over SQL and an object store. Needs the extra ``server``."""
