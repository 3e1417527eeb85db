"""`costsim serve`: a page and a JSON API over the same planner (extra `costsim[web]`)."""
