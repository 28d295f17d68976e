"""API keys: who may call the gateway.

    making      a new key, its hash, the day on which it ends
    spec        the file of keys as a person reads it, and its rules
    kept        that file: read with every deploy, changed by `fleet key`
    rendering   what a gateway's nginx is told of them

A key itself is shown once, and kept nowhere: what is kept is its SHA-256.
"""
