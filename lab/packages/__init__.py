"""The lab's package world: packages with the names and relations of the public ones, as data.

recipes/*.yml say which packages exist, payloads.yml what they ship, scripts.yml what they run,
repositories.yml where they are served. Code here only turns that into files.
"""
