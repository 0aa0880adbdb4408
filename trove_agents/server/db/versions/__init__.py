"""Migration scripts, run by ``migrations.upgrade``."""
