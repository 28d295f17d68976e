"""From what a person wrote to what will be on a host; no input or output, no pyinfra.

The way in is `fleet`: `plan_fleet(fleet)`, or `plan_host(name, spec)` for one host.

- `plan` `memory` `refusal`   the values: `HostPlan`, `SlicePlan`, `GpuMemory`, `Refusal`
- `devices` `needs`           what a host has, and what models need on GPUs of one kind
- `explicit` `hosts`          slices as written, held against their GPUs
- `demand` `board` `windows`  wishes, what is free, which neighbours are taken together
- `attempt` `seats` `pools`   one way of placing all wishes
- `patterns` `tight` `solver` pools on the fewest GPUs; `bounds` says how few there could be
- `previous`                  an earlier plan, whose slices stay
- `place`                     names, ports and environment
- `why` `nearest`             what is said of a wish that has no place
- `found`                     a plan against the GPUs that a host turned out to have
- `bind`                      `HostPlan` and `Hardware` to slices with UUIDs and device nodes
"""
