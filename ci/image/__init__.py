"""The container image of the suite, built without a container engine and without root."""
