"""What all rooms use: files, cache, random numbers, progress, processes, memory and disk."""
