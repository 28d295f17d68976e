"""The simulated GPU side of a lab host, standard library only: what a kernel driver holds and
what NVIDIA's tools show of it. `driver` owns the state, `smi` only reads it over the socket."""
