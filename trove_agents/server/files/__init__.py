"""Files: write, upload, download, delete, list, read."""
