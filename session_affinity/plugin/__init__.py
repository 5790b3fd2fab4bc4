"""The pytest plugin: options, claims and their selection, evidence, results, and the summary on the terminal."""
