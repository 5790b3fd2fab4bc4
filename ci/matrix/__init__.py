"""The claims on several clusters: which legs to run, running them, and one report and gate for all of them."""
