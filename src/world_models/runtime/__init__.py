"""What every room stands on: files, journals, progress, errors, devices and processes."""
