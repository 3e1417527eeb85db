"""Training, counted in tokens or in samples: strategies searched, costed and explained."""
