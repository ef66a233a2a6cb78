"""What keeps a gate's keys, tokens and certificates as their Secrets say, without closing a connection.

It runs in the gate's image, with the standard library alone. HAProxy does everything that touches a request.
"""
