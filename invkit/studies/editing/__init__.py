"""Other ways to edit a concept, and the judges of edits."""
