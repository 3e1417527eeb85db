"""Kinds of workload, one module or folder each; `costsim.planning.workload` has the table."""
