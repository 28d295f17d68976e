"""Proof that a host is what was planned: each check asks, then judges the answer.

A check is data: questions in POSIX sh, and a pure function from the answers to results. Runners
(pyinfra's connection, testinfra, the machine itself) are interchangeable. Imports planner's types,
never pyinfra. Adding a check: one module with a `Check`, one line in `registry`.
"""
