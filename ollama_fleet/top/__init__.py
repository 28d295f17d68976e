"""The live view of a fleet: what a host is asked again and again, and how it is shown.

`program` is what runs on a machine while it is looked at, `frame` takes apart what it prints, `traffic` the
gateways' logs, `gather` makes of both the nouns of `model`, `alarms` says what of it is bad, `pace` how often
a machine is asked; `screen` and `document` show it. Pure: no connection, no terminal, no clock.
"""
