"""Results for people and machines; imports checks and planner types, never pyinfra."""
