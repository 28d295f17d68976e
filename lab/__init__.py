"""Simulated GPU hosts: real Linux machines without a GPU."""
