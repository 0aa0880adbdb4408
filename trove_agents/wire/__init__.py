"""What crosses HTTP: values, headers, error bodies and limits, shared by client and server. No I/O.

The shapes are those of the public Files API; fields that only this server sends are optional, so values
decode from either. Decoding ignores unknown keys: an older client survives a newer server.
"""
