"""What the GitHub action runs. The scripts import nothing of the suite: the installed suite may be another version."""
