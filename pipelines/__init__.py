"""The `vcm` command: one module a stage, in the order of the flow; `run/` holds what every long job shares."""
