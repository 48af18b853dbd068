"""Shared utilities: files, cache, random numbers, progress, processes, memory and disk."""
