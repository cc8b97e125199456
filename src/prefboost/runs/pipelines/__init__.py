"""Recipes as stages: offline data, on-policy rounds, implicit rewards, reward models."""
