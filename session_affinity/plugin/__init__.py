"""The pytest plugin: options, claims and their selection, evidence, the Allure and conformance reports, and output."""
