"""A host without us: what of ours is on it, and the steps that take it away.

- `places`     where everything of ours lies, by name
- `questions`  asks a host for all of it
- `found`      its answers, and what to say of them
- `steps`      the steps of the script that takes it away

Works from the manifest on the host and from names, so that half-made installations go as well. What
somebody else put into our folders is never touched. Pure: knows no pyinfra.
"""
