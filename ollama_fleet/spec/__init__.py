"""What a person wrote, validated: every error of an inventory is born here.

`fleet` is the whole file, the others are its parts by their keys; `*_rules` are what no single value can
tell: names used twice, ports that meet, two keys that exclude each other. Pydantic models and plain
functions, no input or output.
"""
