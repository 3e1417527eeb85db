"""What a run costs: rent or ownership of devices, energy and carbon, and the budget they add up to.

Prices, grids and data-centre overheads are dated and sourced tables of `hardware_specs`.
"""
