"""CI tooling, not part of the installed package: the matrix of legs, its report, and updates of Kubernetes versions."""
