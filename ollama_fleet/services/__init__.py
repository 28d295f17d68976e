"""Services of the fleet on a machine, whoever they belong to: what one is to be and the steps there, the
packages, account and folders that have to be there before. Pure."""
