"""Tests: `unit` (milliseconds), `deploy` (pyinfra's @fake), `lab` (real hosts)."""
