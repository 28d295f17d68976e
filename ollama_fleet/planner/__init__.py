"""From what a person wrote to what will be on a host; no input or output, no pyinfra.

- `plan`     the values: `HostPlan`, `SlicePlan`, `BoundSlice`
- `place`    `HostSpec` to `HostPlan`: ports and environment
- `bind`     `HostPlan` and `Hardware` to slices with UUIDs and device nodes
"""
