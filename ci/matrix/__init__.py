"""The same claims on several clusters: which legs a matrix has, how they are run, and what they come to together."""
