"""`costsim mcp`: the tools of costsim over the Model Context Protocol (extra `costsim[mcp]`)."""
