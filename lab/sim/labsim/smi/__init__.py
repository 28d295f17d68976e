"""nvidia-smi of a lab host, one file per kind of output; it reads the driver and changes nothing
but persistence mode. Start-up time counts: each command imports only what it prints."""
