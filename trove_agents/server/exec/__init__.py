"""Commands: composed for bash, run in a sandbox over a working copy, their effect kept as one version."""
