"""nvidia-smi of a lab host, one file per kind of output; what it shows
and changes is the driver's. Start-up time counts: each command imports only what it prints."""
