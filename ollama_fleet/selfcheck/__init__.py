"""The host's own look at itself, by a timer: is what was proved still what it was?

Judging needs Python and stays with who deploys. But a judgement depends on the answers alone: where the host
gives the same answers as when all was proved, all still holds. So a deploy, when every check holds,
has the host keep what of its answers must stay (`steady`), and a timer compares. What differs is named; what
it means says `fleet verify`.
"""
