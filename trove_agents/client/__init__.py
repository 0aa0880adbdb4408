"""How a caller speaks the Files API: calls as values, flows as generators, two thin drivers, flat clients.

Nothing here knows the server's code. Only ``network.py`` imports the HTTP library, and only once a client
needs it.
"""
