"""Machines as others list them (Terraform, MAAS, clouds) to an inventory. Pure: text in, a mapping out."""
