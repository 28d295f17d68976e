"""The Ollama binary of a host, as text and judgement: knows no pyinfra, asks nothing itself.

sums      a release's list of checksums
pins      the table of pinned checksums in group_data, and how `fleet pin` changes it
wanted    settings → the `Release` that a host shall run, or why not
state     what a host is asked, and what of Ollama it has
problems  what keeps a release from a host, before anything is changed there
script    the steps of a change: unpack, switch, remove old ones
cache     archives on this machine, for hosts that cannot fetch them
"""
