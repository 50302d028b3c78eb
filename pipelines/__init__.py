"""The stages of dvc.yaml: each reads its own parameters, builds, calls and writes its outputs."""
