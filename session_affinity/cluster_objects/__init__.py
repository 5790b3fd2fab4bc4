"""API objects that the suite creates, labels and deletes: Services, pods, and raw requests for Services."""
