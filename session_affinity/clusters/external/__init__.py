"""A cluster that somebody has already: everything in one namespace of its own, nothing else touched."""
