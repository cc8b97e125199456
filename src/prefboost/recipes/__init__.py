"""Recipes: a tree of the very settings objects that the functions take."""
