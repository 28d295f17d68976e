"""Changes without a lost request, where the fleet has a gateway.

- `turns`   which host may take slices out of service now, and who is left as it is after a failure
- `groups`  which slices of one host have to change together
- `proof`   shell: a slice has loaded its models, and answers from a GPU
- `script`  the one script that changes a host slice by slice, or puts it back
- `marks`   slices that an operator has taken out of service

Knows no pyinfra. `host.rolling` takes the turns, `host.units` and the other steps that stop slices run
what is made here.
"""
