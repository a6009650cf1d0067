"""Training of networks, seed by seed, and what is measured of it."""
