"""Ollama Fleet: describe hosts, plan slices, provision over SSH, prove that it works.

The rooms, in the order in which data goes through them. An import never points back; which room may import
which is the table in `tests/unit/test_architecture.py`.

What is known and wished:

- `catalogue`  models, GPUs, distributions, releases as tables; `vram` and `speed` compute with them, `sizing`
               says what of a model lies on a disk
- `spec`       what a person wrote, validated; `load` reads it and the files that it names (`*_files`)
- `planner`    the whole fleet to one plan per machine, slices bound to GPU UUIDs; no input or output
- `recommend`  which model for which task on which GPUs, computed from the catalogue

What a machine says and gets, as pure text (questions in POSIX sh, answers, steps):

- `questions`  many questions in one exec; `hardware` reads the GPUs out of the answers
- `preflight`  what keeps a plan from a host; `room` is about its disks
- `driver`, `containers`, `mig`, `gpu_settings`, `firewall`, `release`, `store`, `warm`, `client`: a step each
- `render`     a bound plan to the exact files and units of a host; `convergence` to what differs from them
- `services`   what any other service is to be, and the steps there
- `gateway`    the way to all slices: the gateway itself, and each host's part of it; `keys` who may use it
- `authority`  certificates
- `watching`   who asks slices whether they serve, and repairs those that do not
- `selfcheck`  the host's own look at what has changed
- `metrics`    what each machine shows of itself; `monitor` the one that looks at all of them
- `mirrors`, `bundle`, `locking`: where downloads come from, and that they are the right ones
- `rollout`    changes slice by slice; `draining` slices out of service and back
- `claim`      who changes a host; `removal` takes away what is ours (`owned`)

What comes of it:

- `checks`     what to ask a machine and a pure judgement of each answer
- `top`        the live view: what a machine prints again and again, and how it is shown
- `report`     results and plans to tables, pictures and pages
- `export`     the fleet in the form of others' tools; `host_lists` theirs in ours
- `host`       pyinfra: facts, operations, transport; besides `tasks` its only importer
- `inventory`  a YAML file to pyinfra's host tuples
- `cli`        the `fleet` command
"""
