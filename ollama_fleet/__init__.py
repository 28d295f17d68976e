"""Ollama Fleet: describe hosts, plan slices, provision over SSH, prove that it works.

The rooms, in the order in which data goes through them (an import never points back):

- `spec`       what a person wrote, validated; every input error is born here
- `hardware`   what a host says it has: text of nvidia-smi, PCI and /proc to `Hardware`
- `planner`    `HostSpec` to `HostPlan` to slices bound to GPU UUIDs; no input or output
- `render`     a bound plan and templates to the exact files and units of a host
- `checks`     what to ask a host and a pure judgement of each answer
- `claim`      who changes a host: the claim of a run, and of which machine the run is (`controller`)
- `removal`    what of ours is on a host, and the steps that take it away
- `host`       pyinfra: facts, operations, transport; besides `tasks` its only importer
- `inventory`  a YAML file to pyinfra's host tuples
- `recommend`  which model for which task on which GPUs, computed from the catalogue
- `report`     results and plans to tables, pictures and pages
- `cli`        the `fleet` command
"""
