"""The Lightning modules and data modules around V and M."""
