"""Shapes of Services: the dimensions in which they differ, arrays that cover all pairs, and the objects of a row."""
