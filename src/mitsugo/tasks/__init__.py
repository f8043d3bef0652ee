"""The verbs: only here do recipes meet parts."""
